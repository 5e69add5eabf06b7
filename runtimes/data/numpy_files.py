"""``.npy`` and ``.npz`` files, memory-mapped or inflated piece by piece, never unpickled.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import mmap
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from runtimes.base import Array
from runtimes.data.sources import ArraySource, Columns, Source, StreamSource
from runtimes.errors import DataError

_CHUNK_BYTES = 1 << 20
_WHOLE_BYTES = 1 << 30
_MOST_MEMBERS = 4096
_MOST_EXPANSION = 200
_MOST_DIMENSIONS = 32
_LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of name and extra field, at byte 26 of 30


@dataclass(frozen=True)
class NpyHeader:
    """What an ``.npy`` file says of its array before the data."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int
    """Bytes before the data."""

    @property
    def data_bytes(self) -> int:
        """Size of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def open_npy(path: Path, key: str) -> Source:
    """Memory-map an ``.npy`` file as the one array ``key``."""
    try:
        with path.open("rb") as file:
            header = read_npy_header(file, f"{path}")
        mapping = _Mapping(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    array = mapping.array(header, header.length, str(path))
    return ArraySource(str(path), {key: array}, mapping.release)


def open_npz(path: Path) -> Source:
    """Open the arrays of an ``.npz``: memory-mapped if none is compressed, else streamed.

    A compressed array in Fortran order has no rows to stream and is inflated whole.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bomb(archive.infolist(), path)
            headers: dict[str, tuple[zipfile.ZipInfo, NpyHeader]] = {}
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if key in headers:
                    raise DataError(f"{path} holds two arrays {key!r}; save the file again")
                if key == info.filename:
                    raise DataError(f"{path} holds {key!r}, which is not an array (.npy)")
                if info.flag_bits & 0x1:
                    raise DataError(f"{path}: the array {key!r} is encrypted")
                with archive.open(info) as member:
                    header = read_npy_header(member, f"{path}: the array {key!r}")
                compressed = info.compress_type != zipfile.ZIP_STORED
                if compressed and header.fortran and header.data_bytes > _WHOLE_BYTES:
                    raise DataError(
                        f"{path}: the array {key!r} is large, compressed and in Fortran order, "
                        "so that its samples cannot be streamed; save it from "
                        "numpy.ascontiguousarray(array), or with numpy.savez"
                    )
                row_bytes = header.data_bytes // max(1, header.shape[0] if header.shape else 1)
                if compressed and row_bytes > _WHOLE_BYTES:
                    raise DataError(
                        f"{path}: a sample of the array {key!r} takes {row_bytes:,} bytes, too "
                        "many to be inflated at once; save the file with numpy.savez"
                    )
                if info.file_size != header.length + header.data_bytes:
                    raise DataError(f"{path}: the array {key!r} is truncated; save the file again")
                headers[key] = (info, header)
            if all(info.compress_type == zipfile.ZIP_STORED for info, _ in headers.values()):
                mapping = _Mapping(path)
                arrays = {
                    key: mapping.array(
                        header,
                        _offset(path, info) + header.length,
                        f"{path}: the array {key!r}",
                    )
                    for key, (info, header) in headers.items()
                }
                return ArraySource(str(path), arrays, mapping.release)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever the library makes of bytes that are no archive
        raise _broken(path, error) from error
    shapes = {key: header.shape for key, (_, header) in headers.items()}
    counts = {shape[0] for shape in shapes.values() if shape}
    if len(counts) != 1 or 0 in counts:
        # The same refusals as for arrays in memory, from arrays that take no memory.
        hollow = {key: np.broadcast_to(np.int8(0), shape) for key, shape in shapes.items()}
        return ArraySource(str(path), hollow)
    total = counts.pop()
    return StreamSource(str(path), lambda: _inflate(path, total), total)


def _inflate(path: Path, total: int) -> Iterator[Columns]:
    """Yield the rows of all members, some megabytes at a time."""
    try:
        with zipfile.ZipFile(path) as archive:
            members: dict[str, tuple[IO[bytes], NpyHeader]] = {}
            whole: dict[str, Array] = {}
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                member = archive.open(info)
                header = read_npy_header(member, f"{path}: the array {key!r}")
                if not header.shape:
                    whole[key] = np.broadcast_to(
                        np.frombuffer(member.read(), header.dtype), (total,)
                    )
                elif header.fortran:
                    data = member.read()
                    whole[key] = np.frombuffer(data, header.dtype).reshape(header.shape, order="F")
                else:
                    members[key] = (member, header)
            row_bytes = sum(h.data_bytes // total for _, h in members.values())
            step = max(1, _CHUNK_BYTES // max(1, row_bytes))
            for start in range(0, total, step):
                count = min(step, total - start)
                rows = {key: array[start : start + count] for key, array in whole.items()}
                for key, (member, header) in members.items():
                    shape = (count, *header.shape[1:])
                    wanted = math.prod(shape) * header.dtype.itemsize
                    data = member.read(wanted)
                    if len(data) < wanted:
                        raise DataError(f"{path}: the array {key!r} is truncated")
                    rows[key] = np.frombuffer(data, header.dtype).reshape(shape)
                yield rows
            for member, _ in members.values():
                member.read(1)  # reaching the end is what makes zipfile check the CRC
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise _broken(path, error) from error


def _refuse_bomb(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Raise ``DataError`` for an archive that is made to fill the memory or the time there is."""
    if len(members) > _MOST_MEMBERS:
        raise DataError(f"{path} holds {len(members)} arrays, more than any model has inputs")
    packed = sum(info.compress_size for info in members)
    inflated = sum(info.file_size for info in members)
    if packed > path.stat().st_size:
        raise DataError(f"{path}: arrays share their bytes in the archive; save the file again")
    if inflated > _WHOLE_BYTES and inflated > _MOST_EXPANSION * packed:
        raise DataError(
            f"{path} expands {inflated // max(1, packed)}-fold to {inflated:,} bytes, which "
            "samples do not; save it with numpy.savez if it is right"
        )


def _broken(path: Path, error: Exception) -> DataError:
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"{path} cannot be read: {error.strerror}")
    reason = " ".join((str(error) or type(error).__name__).split())[:200]
    return DataError(
        f"{path} is not an .npz file that can be read, or it is truncated ({reason}); "
        "save it again with numpy.savez"
    )


def read_npy_header(file: IO[bytes], where: str) -> NpyHeader:
    """The header of an array, which is not checked against the length of the file."""
    try:
        version = npy_format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = npy_format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = npy_format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version} of the .npy format")
    except OSError:
        raise
    except Exception as error:  # a header is a Python literal, and may be any
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise DataError(f"{where} is not a numpy array that can be read: {reason}") from error
    if dtype.hasobject:
        raise DataError(
            f"{where} holds pickled Python objects, which are not loaded from a file; "
            "save it with a numeric dtype and one shape for all samples"
        )
    if dtype.itemsize == 0 or dtype.subdtype is not None:
        raise DataError(f"{where} holds {dtype}, which is not a number or text")
    most = np.iinfo(np.intp).max // dtype.itemsize
    used = math.prod(size for size in shape if size)
    if len(shape) > _MOST_DIMENSIONS or any(size < 0 for size in shape) or used > most:
        raise DataError(f"{where} has the impossible shape {str(shape)[:100]}")
    length = file.tell()
    return NpyHeader(shape, bool(fortran) and len(shape) > 1, dtype, length)


def _offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: after its local header, whose lengths may differ."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return info.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)


class _Mapping:
    """A file mapped into memory once, for all the arrays in it."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def array(self, header: NpyHeader, offset: int, where: str) -> Array:
        """The array whose bytes begin at ``offset``; read-only."""
        if header.data_bytes == 0:
            return np.empty(header.shape, header.dtype)
        if offset + header.data_bytes > len(self._map):
            raise DataError(f"{where} is truncated; copy the file again")
        order: Any = "F" if header.fortran else "C"
        return np.ndarray(header.shape, header.dtype, self._map, offset, order=order)

    def release(self) -> None:
        """Give back the pages read so far, or a pass would hold the whole file at its end.

        What still refers to them reads them again from the file.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
