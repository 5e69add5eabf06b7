"""ONNX files as protobuf writes them, with the weights left where they are.

A protobuf library wants a whole message in memory, and mostly twice. Here a serialized model is
walked along its tags; what is not to change is passed on as views of it, and of the tensors only
the frame is touched. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.protobuf_fields import BYTES, VARINT, MalformedMessage, fields

# Where tensors are, by message: field number → message. https://onnx.ai/onnx/api/classes.html
HOLDERS = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}

_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14  # of TensorProto
_EXTERNAL = 1  # a DataLocation
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_MAX_DEPTH = 100  # of messages in messages, as protobuf's own parsers have it

Piece = memoryview | bytes | ir.TensorProtocol
"""A part of a message: bytes, or a tensor for its raw bytes."""


@dataclass(frozen=True)
class Pieces:
    """A message in parts, in order, and its size in bytes."""

    parts: tuple[Piece, ...]
    size: int

    @classmethod
    def of(cls, parts: Sequence[Piece]) -> Pieces:
        """The parts with the sum of their sizes."""
        sizes = (len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
        return cls(tuple(parts), sum(sizes))


def with_tensors(
    message: memoryview,
    change: Callable[[memoryview, int], Pieces | None],
    worth: Callable[[memoryview], bool],
    *,
    kind: str = "ModelProto",
    offset: int = 0,
    depth: int = 0,
) -> Pieces | None:
    """Replace each TensorProto in a message by what ``change`` makes of it and its offset.

    ``None``, from ``change`` or from here, means that it stays as it is. ``worth`` says of a
    message whether a tensor that changes can be in it. Raises ``MalformedMessage``.
    """
    if kind == "TensorProto":
        return change(message, offset)
    if depth > _MAX_DEPTH:
        raise MalformedMessage(f"more than {_MAX_DEPTH} messages inside each other")
    parts: list[Piece] = []
    kept = 0  # where what is kept and not yet passed on begins
    for field in fields(message):
        inner = HOLDERS[kind].get(field.number)
        if inner is None or field.wire_type != BYTES:
            continue
        held = message[field.start : field.stop]
        if not worth(held):
            continue
        changed = with_tensors(
            held, change, worth, kind=inner, offset=offset + field.start, depth=depth + 1
        )
        if changed is None:
            continue
        parts += [message[kept : field.tag], _head(field.number, changed.size), *changed.parts]
        kept = field.stop
    return Pieces.of([*parts, message[kept:]]) if parts else None


def embedded(tensor: memoryview, at: Callable[[str], ir.TensorProtocol | None]) -> Pieces | None:
    """A TensorProto with external data as one that holds them.

    ``at`` gives the tensor for a location, or ``None`` where it is to stay external.
    """
    location = location_of(tensor)
    values = None if location is None else at(location)
    if values is None:
        return None
    before: list[Piece] = []
    after: list[Piece] = []
    for field in fields(tensor):
        if field.number not in {_EXTERNAL_DATA, _DATA_LOCATION}:
            (before if field.number < _RAW_DATA else after).append(tensor[field.tag : field.stop])
    return Pieces.of([*before, _head(_RAW_DATA, values.nbytes), values, *after])


def location_of(tensor: memoryview) -> str | None:
    """The file that a TensorProto with external data names."""
    entries = (tensor[f.start : f.stop] for f in fields(tensor) if f.number == _EXTERNAL_DATA)
    return dict(map(_entry, entries)).get("location")


def referring(tensor: memoryview, offset: int, location: str, above: int) -> Pieces | None:
    """A TensorProto that holds more than ``above`` bytes as one with external data.

    These are at ``location``, where the tensor itself lies at ``offset``.
    """
    parts: list[Piece] = []
    raw = None
    for field in fields(tensor):
        if field.number == _RAW_DATA and field.wire_type == BYTES:
            raw = field
        elif field.number not in {_EXTERNAL_DATA, _DATA_LOCATION}:
            parts.append(tensor[field.tag : field.stop])
    if raw is None or raw.stop - raw.start <= above:
        return None
    for key, value in (
        ("location", location),
        ("offset", str(offset + raw.start)),
        ("length", str(raw.stop - raw.start)),
    ):
        entry = _text(_KEY, key) + _text(_VALUE, value)
        parts.append(_head(_EXTERNAL_DATA, len(entry)) + entry)
    parts.append(_varint_bytes(_DATA_LOCATION << 3 | VARINT) + _varint_bytes(_EXTERNAL))
    return Pieces.of(parts)


def _entry(entry: memoryview) -> tuple[str, str]:
    found = {f.number: bytes(entry[f.start : f.stop]).decode() for f in fields(entry)}
    return found.get(_KEY, ""), found.get(_VALUE, "")


def _text(number: int, text: str) -> bytes:
    raw = text.encode()
    return _head(number, len(raw)) + raw


def _head(number: int, size: int) -> bytes:
    """What goes before a field of ``size`` bytes."""
    return _varint_bytes(number << 3 | BYTES) + _varint_bytes(size)


def _varint_bytes(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
