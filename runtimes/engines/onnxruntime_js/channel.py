"""Frames over a pair of pipes, each with a time by which it must have been sent or have come."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtimes.engines.onnxruntime_js.frames import (
    PREFIX_BYTES,
    Frame,
    head_of,
    lengths_in,
    parse_header,
)

_CHUNK = 2**20


class ChannelClosed(Exception):
    """The other side has closed its end, as it does when it dies."""


class ChannelTimeout(Exception):
    """The other side did not read or answer in time."""


@dataclass(frozen=True)
class Channel:
    """Two file descriptors: what is read from the other side, and what is written to it."""

    reader: int
    writer: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        os.set_blocking(self.writer, False)
        os.set_blocking(self.reader, False)

    def send(self, frame: Frame, seconds: float) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: The other side is gone.
            ChannelTimeout: It did not read all of it within ``seconds``.
        """
        until = self.clock() + seconds
        for part in (head_of(frame), frame.body):
            left = memoryview(part)
            while left:
                self._wait(self.writer, select.POLLOUT, until)
                try:
                    left = left[os.write(self.writer, left[:_CHUNK]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError as error:
                    raise ChannelClosed from error

    def receive(self, seconds: float) -> Frame:
        """The next frame from the other side.

        Raises:
            ChannelClosed: The other side is gone.
            ChannelTimeout: The whole frame did not come within ``seconds``.
            FrameError: What came is no frame.
        """
        until = self.clock() + seconds
        header, body = lengths_in(bytes(self._read(PREFIX_BYTES, until)))
        described = parse_header(bytes(self._read(header, until)))
        return Frame(described, self._read(body, until))

    def close(self) -> None:
        """Close both ends that are ours."""
        for end in (self.reader, self.writer):
            os.close(end)

    def _read(self, count: int, until: float) -> bytearray:
        # It grows with what comes: a length that is only claimed takes no memory.
        found = bytearray()
        while len(found) < count:
            self._wait(self.reader, select.POLLIN, until)
            try:
                chunk = os.read(self.reader, min(_CHUNK, count - len(found)))
            except BlockingIOError:
                continue
            if not chunk:
                raise ChannelClosed
            found += chunk
        return found

    def _wait(self, end: int, event: int, until: float) -> None:
        poll = select.poll()
        poll.register(end, event)
        left = until - self.clock()
        if left <= 0 or not poll.poll(left * 1000):
            raise ChannelTimeout
