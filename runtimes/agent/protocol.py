r"""The frame: one JSON document and any number of arrays, in one piece of bytes.

::

    b"KLNX1\n"                      6 bytes
    size of the head                4 bytes, little-endian
    head                            JSON: {"body": …, "tensors": [[name, dtype, shape, bytes], …]}
    arrays                          one after the other, little-endian, in C order

Text is an array of the dtype ``string``: the size of each in four bytes, then UTF-8. What a frame
says of itself is checked against its length before anything is made from it. Nothing in it is ever
executed or unpickled. This module does no input or output.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.agent.typed_json import Malformed
from runtimes.base import Array, Feed

VERSION = 1
"""Of the protocol as a whole; both sides have to speak the same."""

MAGIC = b"KLNX1\n"
_HEAD = struct.Struct("<I")
_MOST_HEAD_BYTES = 64 * 2**20
_LONGEST_NAME = 1024
_MOST_AXES = 16
_STRING = "string"
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


def encode(body: Any, tensors: Feed | None = None) -> bytes:
    """The frame of ``body``, which JSON can hold, and ``tensors``."""
    raws = [(name, *_raw(name, array)) for name, array in (tensors or {}).items()]
    told = [[name, dtype, shape, len(raw)] for name, dtype, shape, raw in raws]
    head = json.dumps({"body": body, "tensors": told}, allow_nan=False).encode()
    return b"".join([MAGIC, _HEAD.pack(len(head)), head, *(raw for *_, raw in raws)])


def decode(frame: bytes | memoryview, *, most_tensors: int = 256) -> tuple[Any, dict[str, Array]]:
    """The document and the arrays of ``frame``; raises ``Malformed`` for anything else."""
    data = memoryview(frame)
    start = len(MAGIC) + _HEAD.size
    if bytes(data[: len(MAGIC)]) != MAGIC or len(data) < start:
        raise Malformed("this is no frame of kilnx")
    (size,) = _HEAD.unpack(data[len(MAGIC) : start])
    if size > min(_MOST_HEAD_BYTES, len(data) - start):
        raise Malformed("the head of the frame is longer than the frame")
    head = json_of(bytes(data[start : start + size]))
    if not isinstance(head, dict) or head.keys() != {"body", "tensors"}:
        raise Malformed("the head of the frame is not one")
    told = head["tensors"]
    if not isinstance(told, list) or len(told) > most_tensors:
        raise Malformed(f"the frame holds more than {most_tensors} arrays")
    return head["body"], _tensors(told, data[start + size :])


def json_of(text: bytes) -> Any:
    """The document in ``text``; raises ``Malformed``."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed("the message is not JSON") from error


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is no number of JSON")


def _tensors(told: list[Any], data: memoryview) -> dict[str, Array]:
    """The arrays that the head tells of; all sizes are checked before the first is made."""
    checked = [_checked(one) for one in told]
    names = [name for name, *_ in checked]
    if len(set(names)) != len(names):
        raise Malformed("two arrays have the same name")
    if sum(size for *_, size in checked) != len(data):
        raise Malformed("the arrays are not as long as the frame says")
    found, start = {}, 0
    for name, dtype, shape, size in checked:
        found[name] = _array(dtype, shape, data[start : start + size])
        start += size
    return found


def _checked(told: Any) -> tuple[str, str, tuple[int, ...], int]:
    if not isinstance(told, list) or len(told) != 4:
        raise Malformed("an array is not told of as name, dtype, shape and size")
    name, dtype, shape, size = told
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise Malformed("the name of an array is no text, or too long")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise Malformed("the shape of an array is no list, or too long")
    if not all(type(one) is int and 0 <= one < 2**48 for one in (*shape, size)):
        raise Malformed("a size of an array is negative, too large or no integer")
    count = math.prod(shape)
    if dtype == _STRING:
        if count * _HEAD.size > size:
            raise Malformed("an array of text is shorter than its shape")
    elif dtype != "bfloat16" and dtype not in _DTYPES:
        raise Malformed(f"arrays of {str(dtype)[:40]!r} are not sent")
    elif count * numpy_dtype(dtype).itemsize != size:
        raise Malformed("an array is not as long as its shape and dtype say")
    return name, dtype, tuple(shape), size


def _array(dtype: str, shape: tuple[int, ...], raw: memoryview) -> Array:
    if dtype == _STRING:
        return _texts(shape, raw)
    try:
        found: Array = np.frombuffer(raw, numpy_dtype(dtype)).reshape(shape)
        return found.copy()
    except ValueError as error:  # of no elements, but with axes beyond what an array has
        raise Malformed("the shape of an array is none that arrays have") from error


def _texts(shape: tuple[int, ...], raw: memoryview) -> Array:
    found: Array = np.empty(math.prod(shape), object)
    start = 0  # each takes four bytes at least, which was checked
    for place in range(len(found)):
        if len(raw) - start < _HEAD.size:
            raise Malformed("an array of text is cut off")
        (size,) = _HEAD.unpack(raw[start : start + _HEAD.size])
        start += _HEAD.size
        if size > len(raw) - start:
            raise Malformed("an array of text is cut off")
        try:
            found[place] = bytes(raw[start : start + size]).decode()
        except UnicodeDecodeError as error:
            raise Malformed("an array of text is not UTF-8") from error
        start += size
    if start != len(raw):
        raise Malformed("an array of text is longer than its shape")
    try:
        return found.reshape(shape)
    except ValueError as error:
        raise Malformed("the shape of an array is none that arrays have") from error


def _raw(name: str, array: Array) -> tuple[str, list[int], bytes]:
    array = np.asarray(array)
    shape = list(array.shape)
    if array.dtype.kind in "OU":
        texts = [str(one).encode() for one in array.ravel()]
        return _STRING, shape, b"".join(_HEAD.pack(len(one)) + one for one in texts)
    dtype = array.dtype.name
    if dtype != "bfloat16" and dtype not in _DTYPES:
        raise Malformed(f"{name!r} is an array of {dtype}, which is not sent")
    return dtype, shape, array.astype(numpy_dtype(dtype), copy=False).tobytes()


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The dtype of that name, little-endian; raises ``Malformed`` where there is none."""
    if name == _STRING:
        return np.dtype(object)
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    if name not in _DTYPES:
        raise Malformed(f"there is no dtype {name[:40]!r}")
    found: np.dtype[Any] = np.dtype(name)
    return found if sys.byteorder == "little" else found.newbyteorder("<")


def dtype_name(dtype: np.dtype[Any]) -> str:
    """What ``numpy_dtype`` takes."""
    return _STRING if dtype.kind == "O" else dtype.name


def told_of(value: Mapping[str, Any]) -> bytes:
    """A small document as bytes, for answers that hold no arrays."""
    return json.dumps(value, allow_nan=False).encode()
