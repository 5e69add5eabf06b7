"""Objects from one process to another: large arrays through memory that both have mapped.

A message is pickled without its arrays. Small ones follow it; the bytes of large ones are laid into
an anonymous file of the sender's, whose descriptor goes along once. The file is used again for the
next message: each side answers before it is asked again, so what lies there was read by then. Who
asks before it was answered takes another file, a *slot*; the answer has the slot of its question.
Where there are no such files, the bytes follow the message through the socket.
https://man7.org/linux/man-pages/man2/memfd_create.2.html
"""

from __future__ import annotations

import array
import mmap
import os
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.racing.arrays import Arrays, Reader, Writer, are_plain
from runtimes.racing.pickled import Reading, Written

# Bytes of the message and of small arrays behind it, large arrays, new memory, use in place, of a
# known form, slot.
_HEAD = struct.Struct("<QQI???B")
_SIZE = struct.Struct("<Q")
_ALIGN = 64
# What is no longer than this goes through the socket in one piece.
_PIECE = 64 * 1024
# Room for a few descriptors: https://man7.org/linux/man-pages/man7/unix.7.html
_DESCRIPTORS_BYTES = socket.CMSG_SPACE(4 * struct.calcsize("i"))


class Channel:
    """One end of a connected pair of sockets; the other end is in a process that is trusted.

    One thread may send while another one receives.

    Attributes:
        slot: The slot of what was received last.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.slot = 0
        self._socket = connected
        self._own: dict[int, mmap.mmap] = {}
        self._theirs: dict[int, mmap.mmap] = {}
        self._writer, self._reader = Writer(), Reader()
        self._read = bytearray()  # what was received, of which so many bytes were asked for
        self._done = 0
        self._buffer = memoryview(bytearray(_PIECE))
        self._descriptors: list[int] = []
        self._waiting = select.poll()
        self._waiting.register(connected, select.POLLIN)

    def send(self, message: Any, *, in_place: bool = False, slot: int = 0) -> None:
        """Send ``message``; raises ``OSError`` where the other end is gone.

        ``in_place``: the other end may use large arrays where they lie, until it answers. ``slot``:
        where they are laid; nothing that was laid there before may still be needed.
        """
        if type(message) is Arrays and are_plain(message.arrays):
            arrays = [np.ascontiguousarray(one) if one.ndim else one for one in message.arrays]
            body, apart, small = self._writer.write(message.told, arrays)
            self._send(body, apart, small, (True, in_place, slot))
        else:
            written = Written(message)
            self._send(written.body, written.large, written.small, (False, in_place, slot))

    def _send(
        self, body: bytes, apart: Sequence[Array], small: bytes, how: tuple[bool, bool, int]
    ) -> None:
        large = [one.reshape(-1).view(np.uint8).data for one in apart]
        plain, in_place, slot = how
        descriptor = self._lay_out(large, slot)
        maps = descriptor is not None
        head = _HEAD.pack(len(body), len(small), len(large), maps, in_place, plain, slot)
        if large:
            head += b"".join([_SIZE.pack(one.nbytes) for one in large])
        rest = body + small if small else body
        pieces = [head + rest] if len(rest) < _PIECE else [head, rest]
        if descriptor is not None:
            sent = socket.send_fds(self._socket, pieces[:1], [descriptor])
            os.close(descriptor)
            pieces[0] = pieces[0][sent:]
        for piece in pieces:
            self._socket.sendall(piece)
        if slot not in self._own:
            for one in large:
                self._socket.sendall(one)

    def poll(self, seconds: float) -> bool:
        """Whether something comes within ``seconds``; the end of the other side counts."""
        return self._done < len(self._read) or bool(self._waiting.poll(seconds * 1000))

    def receive(self) -> Any:
        """The next message; raises ``EOFError`` at the end, and ``OSError``."""
        head = _HEAD.unpack(self._exactly(_HEAD.size))
        length, behind, count, maps, in_place, plain, slot = head
        self.slot = slot
        sizes = [size for (size,) in _SIZE.iter_unpack(self._exactly(count * _SIZE.size))]
        if maps:
            self._map(slot)
        theirs = self._theirs.get(slot)
        body, small = self._exactly(length), self._exactly(behind)
        large: list[Any]
        if theirs is None:
            large = [self._exactly(size) for size in sizes]
        elif in_place:
            memory = memoryview(theirs)
            large = [memory[at : at + size] for at, size in _places(sizes)]
        else:
            with memoryview(theirs) as memory:
                large = [bytearray(memory[at : at + size]) for at, size in _places(sizes)]
        if plain:
            return self._reader.read(body, large, small)
        return Reading(body, small, large).load()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
        for memory in (*self._own.values(), *self._theirs.values()):
            _close_map(memory)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _lay_out(self, arrays: Sequence[memoryview], slot: int) -> int | None:
        """Put the arrays into the shared memory; its descriptor where it is a new one."""
        sizes = [one.nbytes for one in arrays]
        places = list(_places(sizes))
        if not places or not hasattr(os, "memfd_create"):
            return None
        needed, descriptor = sum(places[-1]), None
        own = self._own.get(slot)
        if own is None or len(own) < needed:
            descriptor = os.memfd_create("kilnx")
            os.ftruncate(descriptor, 2 * needed)
            if own is not None:
                own.close()
            own = self._own[slot] = mmap.mmap(descriptor, 2 * needed)
        for (at, size), one in zip(places, arrays, strict=True):
            own[at : at + size] = one
        return descriptor

    def _map(self, slot: int) -> None:
        if not self._descriptors:
            raise EOFError
        descriptor = self._descriptors.pop(0)
        if slot in self._theirs:
            _close_map(self._theirs[slot])
        with suppress(OSError):
            os.set_inheritable(descriptor, False)
        self._theirs[slot] = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        os.close(descriptor)

    def _exactly(self, size: int) -> bytearray:
        """The next bytes; what comes with them is kept, and so are descriptors."""
        if len(self._read) - self._done < size <= _PIECE:
            self._fill(size)
        found = self._read[self._done : self._done + size]
        self._done += size
        if self._done >= len(self._read):
            self._read.clear()
            self._done = 0
        read = len(found)
        if read < size:
            found.extend(bytes(size - read))
            view = memoryview(found)
            while read < size:
                got = self._socket.recv_into(view[read:])
                if not got:
                    raise EOFError
                read += got
        return found

    def _fill(self, size: int) -> None:
        while len(self._read) - self._done < size:
            got, told, _, _ = self._socket.recvmsg_into([self._buffer], _DESCRIPTORS_BYTES)
            if not got:
                raise EOFError
            self._read += self._buffer[:got]
            for level, kind, raw in told:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self._descriptors += array.array("i", raw)


def _close_map(memory: mmap.mmap) -> None:
    """Close what was mapped; an array that still is in use keeps it for as long as it lives."""
    with suppress(BufferError):
        memory.close()


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each array begins, and its size."""
    at = 0
    for size in sizes:
        yield at, size
        at += -(-size // _ALIGN) * _ALIGN
