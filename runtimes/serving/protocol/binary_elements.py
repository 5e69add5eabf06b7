"""The elements of tensors as bytes, both ways; without a copy where the type allows it."""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np

from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.json_elements import string_array
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.shapes import Declared, too_long

_LENGTH = struct.Struct("<I")
# Below this a copy takes less time than a view.
_SMALL = 8192
_SWAP = sys.byteorder == "big"


def array_from_bytes(of: Declared, data: bytes | memoryview, limits: ProtocolLimits) -> np.ndarray:
    """The array of an input of which ``data`` are the bytes; a view of them where it can be."""
    if of.datatype == "BYTES":
        return _strings(of, memoryview(data), limits).reshape(of.shape)
    needed = of.elements * of.dtype.itemsize
    if len(data) != needed:
        raise of.error(f"{len(data)} bytes are given, {of.datatype} {list(of.shape)} has {needed}")
    array = np.frombuffer(data, of.dtype)
    if of.datatype == "BOOL" and of.elements and array.view(np.uint8).max() > 1:
        raise of.error("BOOL elements are bytes of 0 or 1")
    if _SWAP:
        array = array.byteswap()
    if not array.flags.aligned:  # the length of the JSON decides where the bytes start
        array = array.copy()
    return array.reshape(of.shape)


def _strings(of: Declared, data: memoryview, limits: ProtocolLimits) -> np.ndarray:
    position, end = 0, len(data)
    if end < of.elements * _LENGTH.size:
        raise _cut_off(of)
    found = []
    for _ in range(of.elements):
        if position + _LENGTH.size > end:
            raise _cut_off(of)
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if length > limits.string_bytes:
            raise too_long(limits.string_bytes)
        if position + length > end:
            raise _cut_off(of)
        found.append(bytes(data[position : position + length]))
        position += length
    if position != end:
        raise of.error(f"{end - position} bytes are left over after its strings")
    return string_array(found)


def _cut_off(of: Declared) -> ProtocolError:
    return of.error(f"its bytes end before its {of.elements} strings do")


def bytes_of(datatype: str, array: np.ndarray[Any, Any]) -> bytes | memoryview:
    """The bytes of a tensor: a view where nothing has to be changed."""
    if datatype == "BYTES":
        return b"".join(part for each in encoded(array) for part in (_LENGTH.pack(len(each)), each))
    if _SWAP:
        array = array.byteswap()
    if array.nbytes < _SMALL:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def encoded(array: np.ndarray[Any, Any]) -> list[bytes]:
    """The strings of a tensor as bytes, however the model gave them."""
    values = array.reshape(-1).tolist()
    return [each.encode() if isinstance(each, str) else bytes(each) for each in values]
