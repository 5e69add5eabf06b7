"""A connection that passes plain inference requests straight to their model.

uvicorn's own way begins at the head of a request. Here it begins only once it is needed: for all
requests but those of a known model with a body that came together with its head.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from runtimes.serving.app import App
from runtimes.serving.connection import BoundedConnection
from runtimes.serving.direct import Chunks, Target
from runtimes.serving.exchange import Asked, Headers
from runtimes.serving.options import ServeLimits

# With these a request is more than a head and as many bytes as it says.
_UNUSUAL = frozenset((b"content-encoding", b"expect", b"transfer-encoding", b"upgrade"))
# Larger bodies are sent in parts: joining them costs a copy.
_SMALL = 32 * 2**10


class _Nobody:
    """What nobody waits for."""

    def set(self) -> None:
        """Wake nobody."""


class _Waiting:
    """A request that is run, in the place of uvicorn's cycle: behind it others have to wait."""

    __slots__ = ("body", "disconnected", "keep_alive", "more_body", "response_complete")

    message_event = _Nobody()

    def __init__(self) -> None:
        self.body = bytearray()
        self.disconnected = self.more_body = self.response_complete = False
        self.keep_alive = True


def connection_class(limits: ServeLimits, application: App) -> type[BoundedConnection]:
    """The class of connections to an application, for ``uvicorn.Config(http=...)``."""
    return type("Connection", (DirectConnection,), {"limits": limits, "application": application})


class DirectConnection(BoundedConnection):
    """One connection."""

    application: ClassVar[App]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plain: tuple[Target, Asked] | None = None
        self._parts: list[bytes] = []
        self._has_answered = False

    def data_received(self, data: bytes) -> None:
        """Parse what came; a request that is not there as a whole goes uvicorn's way.

        So do all but the first of those that came together: between them others have their turn.
        """
        self._has_answered = False
        super().data_received(data)
        if self._plain is not None:
            self._hand_to_uvicorn()

    def on_message_begin(self) -> None:
        """A head begins."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """The head is whole: it says which way the request goes."""
        self._plain = self._find_plain()
        if self._plain is None:
            self._hand_to_uvicorn()
            return
        self._in_head = False
        self._parts = []
        if self._head_timer is not None:
            self._stop_timer()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._plain is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        if self._plain is None:
            super().on_message_complete()
            return
        (target, asked), self._plain = self._plain, None
        parts, self._parts = self._parts, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.cycle = waiting = _Waiting()  # type: ignore[assignment]
        self._has_answered = True
        self.application.direct.answer(target, asked, body, partial(self._send, waiting, asked))

    def _find_plain(self) -> tuple[Target, Asked] | None:
        """The model that is asked, if this is a plain request and none before it is running."""
        target = self.application.direct_target(self.url)
        if target is None or self._has_answered or self.is_answering or self.flow.write_paused:
            return None
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length")
        plain = length is not None and int(length) <= self.limits.body_bytes
        if not (plain and _UNUSUAL.isdisjoint(headers) and parser.should_keep_alive()):
            return None
        return target, Asked(self.url.decode(), headers, self.transport, self.client)

    def _hand_to_uvicorn(self) -> None:
        """Let uvicorn see the head, and what is there of the body."""
        self._plain = None
        parts, self._parts = self._parts, []
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def _send(
        self, waiting: _Waiting, asked: Asked, status: int, headers: Headers, body: Chunks
    ) -> None:
        """Send an answer, and let the next request begin."""
        waiting.response_complete = True
        self.application.finish(asked, status, headers)
        if not self.transport.is_closing():
            closes = not waiting.keep_alive or self.application.draining
            self._write(status, headers, body, closes=closes)
            if closes:
                self.transport.close()
        self.on_response_complete()

    def _write(self, status: int, headers: Headers, body: Chunks, *, closes: bool) -> None:
        size = sum(map(len, body))
        head = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        head.append(b"connection: close\r\n" if closes else b"")
        head.append(b"content-length: %d\r\n\r\n" % size)
        if size < _SMALL:
            self.transport.write(b"".join((*head, *body)))
        else:
            self.transport.writelines([b"".join(head), *body])
