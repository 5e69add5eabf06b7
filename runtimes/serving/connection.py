"""A connection of uvicorn, with an end to every wait and a bound to every head.

uvicorn waits for ever for the head of a request, and reads a head of any size; a client that does
not read its answer keeps it in memory. Here such connections are closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtimes.serving.exchange import CLIENT, COMPLETE
from runtimes.serving.options import ServeLimits

# uvicorn stops reading at 64 KiB, and an image costs it two more system calls.
_MOST_UNREAD = 512 * 2**10

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedConnection(HttpToolsProtocol):
    """One connection.

    Timers run only while something is missing: a head that is not whole, or an answer that is not
    read. A request that comes in one piece costs none.
    """

    limits = ServeLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and its timers however it was lost."""
        self._stop_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head has to be whole within some bytes and some seconds."""
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.head_bytes:
            self._refuse_head()
        elif self._head_bytes and self._head_timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self.scope[CLIENT] = self.transport  # type: ignore[literal-required]
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        if self._head_timer is not None:
            self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body; the connection pauses later than uvicorn would let it."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > _MOST_UNREAD:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        super().on_message_complete()
        self.scope[COMPLETE] = True  # type: ignore[literal-required]

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a request; one whose client does not read is cut off."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """The client reads slowly: from now on it has to read something now and then."""
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._stop_reader_timer()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read, run or answered."""
        started = self._in_head and self._head_bytes > 0
        return not started and (self.cycle is None or self.cycle.response_complete)

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_reader(self, unsent: int) -> None:
        self._reader_timer = self.loop.call_later(
            self.limits.stall_seconds, self._check_reader, unsent
        )

    def _check_reader(self, before: int) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < before:
            self._watch_reader(unsent)
        else:
            self.transport.abort()

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self.transport.abort()

    def _refuse_head(self) -> None:
        self._stop_timer()
        if self.is_answering:
            self.transport.abort()
            return
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    @property
    def is_answering(self) -> bool:
        """Whether an earlier request still has to be answered."""
        return self.cycle is not None and not self.cycle.response_complete
