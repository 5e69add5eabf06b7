"""Objects from one process to another: large arrays through memory that both have mapped.

A message is pickled, and the bytes of its arrays (pickle's protocol 5 gives them apart) are laid
into an anonymous file of the sender's, whose descriptor goes along once. The file is used again for
the next message: each side answers before it is asked again, so what lies there was read by then.
Where there are no such files, the bytes follow the message through the socket.
https://peps.python.org/pep-0574/, https://man7.org/linux/man-pages/man2/memfd_create.2.html
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

_HEAD = struct.Struct("<QI?")  # bytes of the message, how many arrays, whether memory comes along
_SIZE = struct.Struct("<Q")
_ALIGN = 64
# Smaller arrays are faster within the message.
_APART = 16 * 1024


class Channel:
    """One end of a connected pair of sockets; the other end is in a process that is trusted."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._own: mmap.mmap | None = None
        self._theirs: mmap.mmap | None = None

    def send(self, message: Any) -> None:
        """Send ``message``; raises ``OSError`` where the other end is gone."""
        found: list[pickle.PickleBuffer] = []

        def apart(buffer: pickle.PickleBuffer) -> bool:
            large = buffer.raw().nbytes >= _APART
            if large:
                found.append(buffer)
            return not large

        body = pickle.dumps(message, protocol=5, buffer_callback=apart)
        arrays = [buffer.raw() for buffer in found]
        descriptor = self._lay_out(arrays)
        head = _HEAD.pack(len(body), len(arrays), descriptor is not None)
        if descriptor is None:
            self._socket.sendall(head)
        else:
            socket.send_fds(self._socket, [head], [descriptor])
            os.close(descriptor)
        self._socket.sendall(b"".join(_SIZE.pack(one.nbytes) for one in arrays))
        self._socket.sendall(body)
        if self._own is None:
            for one in arrays:
                self._socket.sendall(one)

    def poll(self, seconds: float) -> bool:
        """Whether something comes within ``seconds``; the end of the other side counts."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def receive(self) -> Any:
        """The next message; raises ``EOFError`` at the end, and ``OSError``."""
        head, descriptors, _, _ = socket.recv_fds(self._socket, _HEAD.size, 1)
        length, count, maps = _HEAD.unpack(head + self._exactly(_HEAD.size - len(head)))
        sizes = [size for (size,) in _SIZE.iter_unpack(self._exactly(count * _SIZE.size))]
        if maps:
            self._map(descriptors)
        body = self._exactly(length)
        if self._theirs is None:
            arrays = [self._exactly(size) for size in sizes]
        else:
            memory = memoryview(self._theirs)
            arrays = [bytearray(memory[at : at + size]) for at, size in _places(sizes)]
            memory.release()
        return pickle.loads(body, buffers=arrays)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
        for memory in (self._own, self._theirs):
            if memory is not None:
                memory.close()

    def _lay_out(self, arrays: Sequence[memoryview]) -> int | None:
        """Put the arrays into the shared memory; its descriptor where it is a new one."""
        sizes = [one.nbytes for one in arrays]
        places = list(_places(sizes))
        if not places or not hasattr(os, "memfd_create"):
            return None
        needed, descriptor = sum(places[-1]), None
        if self._own is None or len(self._own) < needed:
            descriptor = os.memfd_create("kilnx")
            os.ftruncate(descriptor, 2 * needed)
            if self._own is not None:
                self._own.close()
            self._own = mmap.mmap(descriptor, 2 * needed)
        for (at, size), one in zip(places, arrays, strict=True):
            self._own[at : at + size] = one
        return descriptor

    def _map(self, descriptors: Sequence[int]) -> None:
        if not descriptors:
            raise EOFError
        (descriptor,) = descriptors
        if self._theirs is not None:
            self._theirs.close()
        with suppress(OSError):
            os.set_inheritable(descriptor, False)
        self._theirs = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        os.close(descriptor)

    def _exactly(self, size: int) -> bytearray:
        found = bytearray(size)
        view, read = memoryview(found), 0
        while read < size:
            got = self._socket.recv_into(view[read:])
            if not got:
                raise EOFError
            read += got
        return found


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each array begins, and its size."""
    at = 0
    for size in sizes:
        yield at, size
        at += -(-size // _ALIGN) * _ALIGN
