"""Arrays as the headers and bytes of frames: every element type that ONNX Runtime's tensors have.

Numbers are written as they are in memory, little-endian. A string is its length in UTF-8 (4 bytes)
and its bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array, Feed
from runtimes.engines.onnxruntime_js.frames import FrameError
from runtimes.errors import DataError

NUMBERS = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
STRING = "string"

_LENGTH = struct.Struct("<I")


def element_type(dtype: np.dtype[Any]) -> str | None:
    """What ONNX Runtime's JavaScript calls a dtype; None if it has no tensors of it."""
    if dtype.hasobject:
        return STRING
    return dtype.name if dtype.name in NUMBERS else None


def describe(feed: Feed) -> tuple[list[dict[str, Any]], bytes]:
    """The header's list of tensors for these arrays, and the bytes of all of them.

    Raises:
        DataError: An array of objects holds something that is not text.
    """
    entries, parts = [], []
    for name, array in feed.items():
        data = _bytes_of(name, array)
        kind = element_type(array.dtype)
        entries.append({"name": name, "type": kind, "dims": list(array.shape), "bytes": len(data)})
        parts.append(data)
    return entries, b"".join(parts)


def read_tensors(entries: object, body: bytes | bytearray) -> dict[str, Array]:
    """The arrays that a frame holds, by name.

    Raises:
        FrameError: The header does not describe exactly these bytes.
    """
    if not isinstance(entries, list):
        raise FrameError("the header lists no tensors")
    found: dict[str, Array] = {}
    start = 0
    for entry in entries:
        name, kind, dims, size = _checked(entry)
        if size > len(body) - start:
            raise FrameError(f"tensor {name!r} has {size} bytes, {len(body) - start} are left")
        if name in found:
            raise FrameError(f"tensor {name!r} is there twice")
        found[name] = _array(name, kind, dims, memoryview(body)[start : start + size])
        start += size
    if start != len(body):
        raise FrameError(f"{len(body) - start} bytes belong to no tensor")
    return found


def _checked(entry: object) -> tuple[str, str, list[int], int]:
    if not isinstance(entry, Mapping):
        raise FrameError(f"a tensor is described by a {type(entry).__name__}, not by an object")
    name, kind, dims, size = (entry.get(key) for key in ("name", "type", "dims", "bytes"))
    if not isinstance(name, str):
        raise FrameError("a tensor has no name")
    if kind != STRING and kind not in NUMBERS:
        raise FrameError(f"tensor {name!r} is of the unknown type {kind!r}")
    if not isinstance(dims, list) or not all(map(_is_size, dims)):
        raise FrameError(f"tensor {name!r} has the dimensions {dims!r}")
    if not isinstance(size, int) or not _is_size(size):
        raise FrameError(f"tensor {name!r} has {size!r} bytes")
    return name, str(kind), dims, size


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _array(name: str, kind: str, dims: Sequence[int], data: memoryview) -> Array:
    count = math.prod(dims)
    if kind == STRING:
        return _strings(name, count, data).reshape(dims)
    dtype = np.dtype(kind).newbyteorder("<")
    if count * dtype.itemsize != len(data):
        raise FrameError(
            f"tensor {name!r} of {kind}{list(dims)} takes {count * dtype.itemsize} bytes, "
            f"not {len(data)}"
        )
    return np.frombuffer(data, dtype).astype(np.dtype(kind)).reshape(dims)


def _strings(name: str, count: int, data: memoryview) -> Array:
    if count * _LENGTH.size > len(data):
        raise FrameError(f"tensor {name!r} of {count} strings has only {len(data)} bytes")
    texts, start = [], 0
    for _ in range(count):
        if start + _LENGTH.size > len(data):
            raise FrameError(f"tensor {name!r} ends within its strings")
        (size,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if size > len(data) - start:
            raise FrameError(f"tensor {name!r} ends within its strings")
        texts.append(bytes(data[start : start + size]).decode("utf-8", "replace"))
        start += size
    if start != len(data):
        raise FrameError(f"tensor {name!r} has {len(data) - start} bytes after its strings")
    found = np.empty(count, object)
    found[:] = texts
    return found


def _bytes_of(name: str, array: Array) -> bytes:
    if array.dtype.hasobject:
        return b"".join(_text(name, value) for value in array.flat)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _text(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise DataError(f"{name!r} takes text, the data hold {type(value).__name__} {value!r}")
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{name!r}: {value!r} is no text in UTF-8: {error.reason}") from error
    return _LENGTH.pack(len(data)) + data
