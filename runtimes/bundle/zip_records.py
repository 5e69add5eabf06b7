"""The records of a zip file that stores its entries as they are, byte by byte.

There is one form for given entries: no times, no comments, no compression, entries one after the
other. Writer and reader share it, so that a reader can compare what it finds with what would have
been written. https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END_64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR_64 = struct.Struct("<4sIQI")

LOCAL_SIGN, CENTRAL_SIGN, END_SIGN = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_END_64_SIGN, _LOCATOR_64_SIGN = b"PK\6\6", b"PK\6\7"

_ELSEWHERE = 0xFFFFFFFF
"""Stands for a size or an offset that an extra field holds, in 64 bits."""
_COUNT_IN_64_BITS = 0xFFFF

_VERSION, _VERSION_64, _UNIX = 20, 45, 3
_TIME, _DATE = 0, 1 << 5 | 1  # midnight, 1 January 1980: the first that the format knows
_MODE = 0o100644 << 16  # an ordinary file that everyone may read


def _is_large(number: int) -> bool:
    return number >= _ELSEWHERE


@dataclass(frozen=True)
class ZipEntry:
    """A file in an archive: where its local header begins, its size, and its CRC-32."""

    name: str
    offset: int
    size: int
    crc: int

    @property
    def content(self) -> int:
        """Where the bytes of the file begin."""
        return self.offset + len(local_header(self))

    @property
    def stop(self) -> int:
        """Where the bytes of the file end."""
        return self.content + self.size


def local_header(entry: ZipEntry) -> bytes:
    """What stands before the bytes of an entry."""
    name, large = entry.name.encode("ascii"), _is_large(entry.size)
    extra = struct.pack("<2H2Q", 1, 16, entry.size, entry.size) if large else b""
    size = _ELSEWHERE if large else entry.size
    version = _VERSION_64 if large else _VERSION
    head = (LOCAL_SIGN, version, 0, 0, _TIME, _DATE, entry.crc, size, size, len(name), len(extra))
    return LOCAL.pack(*head) + name + extra


def central_header(entry: ZipEntry) -> bytes:
    """The record of an entry in the central directory."""
    name = entry.name.encode("ascii")
    large = _is_large(entry.size) or _is_large(entry.offset)
    numbers = (entry.size, entry.size, entry.offset)
    extra = struct.pack("<2H3Q", 1, 24, *numbers) if large else b""
    size, _, offset = (_ELSEWHERE,) * 3 if large else numbers
    version = _VERSION_64 if large else _VERSION
    head = (CENTRAL_SIGN, _UNIX << 8 | version, version, 0, 0, _TIME, _DATE, entry.crc)
    lengths = (len(name), len(extra), 0, 0, 0)
    return CENTRAL.pack(*head, size, size, *lengths, _MODE, offset) + name + extra


def ending(count: int, size: int, offset: int) -> bytes:
    """What ends an archive whose central directory of ``size`` bytes begins at ``offset``."""
    large = count >= _COUNT_IN_64_BITS or _is_large(size) or _is_large(offset)
    if not large:
        return END.pack(END_SIGN, 0, 0, count, count, size, offset, 0)
    whole = (_VERSION_64, _VERSION_64, 0, 0, count, count, size, offset)
    return (
        END_64.pack(_END_64_SIGN, END_64.size - 12, *whole)
        + LOCATOR_64.pack(_LOCATOR_64_SIGN, 0, offset + size, 1)
        + END.pack(END_SIGN, 0, 0, *(_COUNT_IN_64_BITS,) * 2, *(_ELSEWHERE,) * 2, 0)
    )


def parse_ending(tail: bytes) -> tuple[int, int, int] | None:
    """Entries, size and offset of the central directory, from the last bytes of an archive.

    None for what is no ending that ``ending`` writes.
    """
    if len(tail) < END.size:
        return None
    *_, count, size, offset, _ = END.unpack(tail[-END.size :])
    if offset == _ELSEWHERE and len(tail) >= END_64.size:
        *_, count, size, offset = END_64.unpack(tail[: END_64.size])
    if offset + size > 1 << 62 or not tail.endswith(ending(count, size, offset)):
        return None
    return count, size, offset


LONGEST_ENDING = END_64.size + LOCATOR_64.size + END.size


@dataclass(frozen=True)
class CentralRecord:
    """What the central directory says of an entry, as it is found."""

    raw_name: bytes
    entry: ZipEntry
    method: int
    flags: int
    mode: int
    compressed_size: int


def parse_central(raw: bytes, count: int) -> Iterator[CentralRecord]:
    """Yield the records of a central directory; raises ``ValueError`` where there are others."""
    position = 0
    for _ in range(count):
        record = raw[position : position + CENTRAL.size]
        if len(record) < CENTRAL.size or not record.startswith(CENTRAL_SIGN):
            raise ValueError("its central directory is damaged")
        _, _, _, flags, method, _, _, crc, packed, size, *more = CENTRAL.unpack(record)
        lengths, mode, offset = more[:3], more[5] >> 16, more[6]
        start = position + CENTRAL.size
        position = start + sum(lengths)
        name, extra = _cut(raw[start:position], lengths[:2])
        if size == _ELSEWHERE and len(extra) == 28:
            _, _, size, packed, offset = struct.unpack("<2H3Q", extra)
        entry = ZipEntry(name.decode("ascii", "replace"), offset, size, crc)
        yield CentralRecord(name, entry, method, flags, mode, packed)
    if position != len(raw):
        raise ValueError("its central directory holds more than its entries")


def _cut(raw: bytes, lengths: Sequence[int]) -> tuple[bytes, bytes]:
    first, second = lengths
    return raw[:first], raw[first : first + second]
