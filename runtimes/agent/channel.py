"""Frames between the agent and the process of a job: eight bytes of size, then the frame."""

from __future__ import annotations

import socket
import struct
import time

_SIZE = struct.Struct("<Q")


class ChannelError(Exception):
    """The other side went away, took too long, or said more than it may."""


def send(channel: socket.socket, frame: bytes, deadline: float | None = None) -> None:
    """Send a frame; raises ``ChannelError``."""
    try:
        channel.settimeout(_left(deadline))
        channel.sendall(_SIZE.pack(len(frame)))
        channel.settimeout(_left(deadline))
        channel.sendall(frame)
    except OSError as error:
        raise ChannelError(str(error)) from error


def receive(channel: socket.socket, most: int, deadline: float | None = None) -> bytes:
    """Receive a frame of ``most`` bytes; raises ``ChannelError``."""
    (size,) = _SIZE.unpack(_exactly(channel, _SIZE.size, deadline))
    if size > most:
        raise ChannelError(f"an answer of {size} bytes, more than {most}")
    return _exactly(channel, size, deadline)


def _exactly(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    found = bytearray()
    while len(found) < size:
        try:
            channel.settimeout(_left(deadline))
            piece = channel.recv(min(size - len(found), 1 << 20))
        except OSError as error:
            raise ChannelError(str(error)) from error
        if not piece:
            raise ChannelError("it ended")
        found += piece
    return bytes(found)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left
