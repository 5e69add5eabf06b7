"""Read the fields of a serialized protobuf message from its tags, without a library.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: how the value of a field is stored."""


class MalformedMessage(ValueError):
    """Bytes that are not a protobuf message."""


@dataclass(frozen=True)
class Field:
    """One field of a message: its number, where its tag starts, and where its value is."""

    number: int
    wire_type: int
    tag: int
    start: int
    stop: int


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in order; raises ``MalformedMessage``."""
    position, end = 0, len(message)
    while position < end:
        tag = position
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == BYTES:
            size, position = _varint(message, position)
        elif wire_type == VARINT:
            size = _varint(message, position)[1] - position
        elif wire_type in {FIXED32, FIXED64}:
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise MalformedMessage(f"wire type {wire_type} at byte {tag} of a message")
        if not number or position + size > end:
            raise MalformedMessage(f"the field at byte {tag} of a message is cut off")
        yield Field(number, wire_type, tag, position, position + size)
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A varint (seven bits per byte, lowest first) and the position after it."""
    value = shift = 0
    end = min(len(message), position + 10)
    while position < end:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise MalformedMessage("a number is cut off")
