"""Where the files of a bundle are cut into parts, so that what two bundles share is the same part.

Large weights are parts by themselves, in an ONNX file and in its external data. What is around them
is cut where its own content says so, after some node or small weight whose checksum ends in zeros:
then a change moves no cut but those around it (content-defined chunking, as in LBFS:
Muthitacharoen et al. 2001). Both sides of a link cut, so the same kilnx finds most in common; what
is not cut alike travels again, and is right all the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise

from runtimes.protobuf_fields import BYTES, Field, MalformedMessage, fields

Span = tuple[int, int]
"""Where a part begins in its file, and where it ends."""

LONGEST_PART = 1 << 20
"""Bytes of a part at most: what is lost where a link breaks, and what a request has to take."""

# A smaller weight stays with what is around it: its digest would travel each time.
_LARGE = 8 << 10
# A cut follows one field in so many, and not before so many bytes.
_EVERY, _SHORTEST = 4, 2 << 10
# Fields of ModelProto, GraphProto, TensorProto and StringStringEntryProto (onnx.proto3).
_GRAPH, _INITIALIZER, _RAW_DATA, _EXTERNAL_DATA, _KEY, _VALUE = 7, 5, 9, 13, 1, 2


def cut(files: Mapping[str, memoryview]) -> dict[str, list[Span]]:
    """The parts of each file, one after the other, of a bundle's ``files`` by name."""
    cuts: dict[str, set[int]] = {name: set() for name in files}
    for name, content in files.items():
        if name.endswith(".onnx"):
            with suppress(MalformedMessage):  # then it has no parts to share
                found: dict[str, set[int]] = {}
                own = set(_cuts(content, found))
                cuts[name] |= own
                folder = name.rpartition("/")[0]
                for location, places in found.items():
                    beside = f"{folder}/{location}" if folder else location
                    if beside in cuts:
                        cuts[beside] |= places
    return {name: _spans(len(content), cuts[name]) for name, content in files.items()}


def _spans(size: int, cuts: set[int]) -> list[Span]:
    places = sorted({0, size, *(place for place in cuts if 0 < place < size)})
    return [
        (begin, min(begin + LONGEST_PART, stop))
        for start, stop in pairwise(places)
        for begin in range(start, stop, LONGEST_PART)
    ]


def _cuts(model: memoryview, elsewhere: dict[str, set[int]]) -> Iterator[int]:
    """Where an ONNX file is cut; adds where its external data are, by location."""
    last = 0
    for offset, graph in _within(model, 0, _GRAPH):
        for field in fields(graph):
            end = offset + field.stop
            weight = _weight(graph, field, offset, elsewhere)
            if weight is not None:
                yield from weight
                last = weight[1]
            elif end - last >= _SHORTEST and _is_chosen(graph[field.start : field.stop]):
                yield end
                last = end


def _is_chosen(content: memoryview) -> bool:
    return zlib.crc32(content) % _EVERY == 0


def _weight(
    graph: memoryview, field: Field, offset: int, elsewhere: dict[str, set[int]]
) -> Span | None:
    """Where the bytes of a large initializer are in the file; None where there are none."""
    if field.number != _INITIALIZER or field.wire_type != BYTES:
        return None
    tensor, start = graph[field.start : field.stop], offset + field.start
    place: dict[str, str] = {}
    for inner in fields(tensor):
        content = tensor[inner.start : inner.stop]
        if inner.number == _RAW_DATA and len(content) >= _LARGE:
            return start + inner.start, start + inner.stop
        if inner.number == _EXTERNAL_DATA:
            entry = {one.number: bytes(content[one.start : one.stop]) for one in fields(content)}
            place[_text(entry.get(_KEY))] = _text(entry.get(_VALUE))
    begin, length = (_number(place.get(key)) for key in ("offset", "length"))
    if length >= _LARGE:
        elsewhere.setdefault(place.get("location", ""), set()).update((begin, begin + length))
    return None


def _within(message: memoryview, offset: int, number: int) -> Iterator[tuple[int, memoryview]]:
    for one in fields(message):
        if one.number == number and one.wire_type == BYTES:
            yield offset + one.start, message[one.start : one.stop]


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0
