"""The elements of tensors as bytes, both ways; without a copy where the type allows it."""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np

from runtimes.serving.protocol.datatypes import dtype_of
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.json_elements import string_array, too_long
from runtimes.serving.protocol.limits import ProtocolLimits

_LENGTH = struct.Struct("<I")
_SWAP = sys.byteorder == "big"


def array_from_bytes(
    name: str,
    datatype: str,
    shape: tuple[int, ...],
    elements: int,
    data: bytes | memoryview,
    limits: ProtocolLimits,
) -> np.ndarray:
    """The array of an input of which ``data`` are the bytes; a view of them where it can be."""
    dtype = dtype_of(datatype)
    if datatype == "BYTES":
        return _strings(name, elements, memoryview(data), limits).reshape(shape)
    needed = elements * dtype.itemsize
    if len(data) != needed:
        wanted = f"{datatype} of shape {list(shape)} has {needed}"
        raise ProtocolError(400, f"input {name!r}: {len(data)} bytes are given, but {wanted}")
    array = np.frombuffer(data, dtype)
    if datatype == "BOOL" and elements and array.view(np.uint8).max() > 1:
        raise ProtocolError(400, f"input {name!r}: BOOL elements are bytes of 0 or 1")
    if _SWAP:
        array = array.byteswap()
    if not array.flags.aligned:  # the length of the JSON decides where the bytes start
        array = array.copy()
    return array.reshape(shape)


def _strings(name: str, elements: int, data: memoryview, limits: ProtocolLimits) -> np.ndarray:
    position, end = 0, len(data)
    if end < elements * _LENGTH.size:
        raise _cut_off(name, elements)
    found = []
    for _ in range(elements):
        if position + _LENGTH.size > end:
            raise _cut_off(name, elements)
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if length > limits.string_bytes:
            raise too_long(name, limits)
        if position + length > end:
            raise _cut_off(name, elements)
        found.append(bytes(data[position : position + length]))
        position += length
    if position != end:
        raise ProtocolError(400, f"input {name!r}: {end - position} bytes are left over")
    return string_array(found)


def _cut_off(name: str, elements: int) -> ProtocolError:
    return ProtocolError(400, f"input {name!r}: its bytes end before its {elements} strings do")


def bytes_of(datatype: str, array: np.ndarray[Any, Any]) -> bytes | memoryview:
    """The bytes of a tensor: a view where nothing has to be changed."""
    if datatype == "BYTES":
        return b"".join(part for each in encoded(array) for part in (_LENGTH.pack(len(each)), each))
    if _SWAP:
        array = array.byteswap()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def encoded(array: np.ndarray[Any, Any]) -> list[bytes]:
    """The strings of a tensor as bytes, however the model gave them."""
    values = array.reshape(-1).tolist()
    return [each.encode() if isinstance(each, str) else bytes(each) for each in values]
