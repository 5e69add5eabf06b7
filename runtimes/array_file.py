"""Named arrays behind a JSON header, in one file that is checked before anything is allocated.

The layout, all numbers little-endian:

- 8 bytes: the kind of file, ASCII, filled with zeros;
- uint32: the version of that kind's format;
- uint64: bytes of the header;
- the header: canonical JSON (sorted keys, no spaces, UTF-8), an object. Its ``arrays`` list the
  ``name``, ``dtype``, ``shape`` and ``bytes`` of every array, in the order in which they follow;
- the arrays one behind the other, C order, little-endian; text as a JSON list;
- 32 bytes: SHA-256 of all that comes before.

The same content is the same bytes: there are no times, no paths and no compression in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError, first_line

_HEAD = struct.Struct("<8sIQ")
_DIGEST_BYTES = 32
_MOST_HEADER_BYTES = 256 * 2**20
_MOST_DIMENSIONS = 32
_TEXT = "text"
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


@dataclass(frozen=True)
class Kind:
    """``name``: at most eight ASCII letters. ``title``: what the file holds, in messages."""

    name: str
    version: int
    title: str


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int


def array_file_chunks(
    kind: Kind, header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> Iterator[bytes]:
    """The bytes of a file, piece by piece. ``header`` is JSON without a key ``arrays``.

    Raises ``DataError`` for arrays of a type that has no place in it.
    """
    digest = hashlib.sha256()
    for chunk in _body(kind, header, arrays):
        digest.update(chunk)
        yield chunk
    yield digest.digest()


def read_array_file(
    path: str | os.PathLike[str], kind: Kind
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header and arrays of a file; raises ``DataError`` for anything but a whole, intact one."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, kind)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except _Bad as error:
        raise DataError(f"{path} {error}") from error


def parse_array_file(raw: bytes, kind: Kind, name: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """``read_array_file`` for the bytes of a file, which messages call ``name``."""
    try:
        return _read(io.BytesIO(raw), len(raw), kind)
    except _Bad as error:
        raise DataError(f"{name} {error}") from error


class _Bad(Exception):
    """What is wrong with a file, as the rest of a sentence that begins with its name."""


def _body(kind: Kind, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[bytes]:
    entries, pieces = [], []
    for name, array in sorted(arrays.items()):
        dtype, raw = _raw(name, array)
        entries.append(
            {"name": name, "dtype": dtype, "shape": list(array.shape), "bytes": len(raw)}
        )
        pieces.append(raw)
    text = canonical_json({**header, "arrays": entries})
    yield _HEAD.pack(kind.name.encode("ascii"), kind.version, len(text))
    yield text
    yield from pieces


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; the same value is the same bytes."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def _raw(name: str, array: Array) -> tuple[str, bytes]:
    if array.dtype.kind in "OUS":
        texts = [one.decode() if isinstance(one, bytes) else str(one) for one in array.reshape(-1)]
        return _TEXT, canonical_json(texts)
    if array.dtype.name not in _DTYPES:
        raise DataError(f"the array {name!r} holds {array.dtype.name}, which no file takes")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return array.dtype.name, little.tobytes()


def _read(file: BinaryIO, size: int, kind: Kind) -> tuple[dict[str, Any], dict[str, Array]]:
    header_bytes = _header_size(file.read(_HEAD.size), size, kind)
    digest = hashlib.sha256(_HEAD.pack(kind.name.encode("ascii"), kind.version, header_bytes))
    text = _exactly(file, header_bytes)
    digest.update(text)
    header = _header(text)
    entries = [_entry(one) for one in _list(header.pop("arrays", None), "arrays")]
    if len({one.name for one in entries}) != len(entries):
        raise _Bad("names an array twice; it is damaged")
    stated = _HEAD.size + header_bytes + sum(one.size for one in entries) + _DIGEST_BYTES
    if stated != size:
        raise _Bad(f"has {size} bytes where its header states {stated}; it is cut off or damaged")
    arrays = {}
    for one in entries:
        raw = _exactly(file, one.size)
        digest.update(raw)
        arrays[one.name] = _array(one, raw)
    if _exactly(file, _DIGEST_BYTES) != digest.digest():
        raise _Bad("does not match its own checksum; it is damaged, write it again")
    return header, arrays


def _header_size(head: bytes, size: int, kind: Kind) -> int:
    if len(head) < _HEAD.size:
        raise _Bad(f"is too short to hold {kind.title}")
    name, version, header_bytes = _HEAD.unpack(head)
    if name.rstrip(b"\0") != kind.name.encode("ascii"):
        raise _Bad(f"does not hold {kind.title}")
    if version != kind.version:
        raise _Bad(
            f"has version {version} of its format, and this kilnx reads version {kind.version}; "
            "write it with the kilnx that reads it"
        )
    if header_bytes > min(_MOST_HEADER_BYTES, size - _HEAD.size - _DIGEST_BYTES):
        raise _Bad("is cut off or damaged: its header is longer than the file")
    return int(header_bytes)


def _exactly(file: BinaryIO, size: int) -> bytes:
    """So many bytes, which the size of the file has been held against before."""
    raw = file.read(size)
    if len(raw) != size:
        raise _Bad("became shorter while it was read")
    return raw


def _header(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Bad(f"has a damaged header: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise _Bad("has a damaged header: it is no JSON object")
    return found


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in it")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Bad(f"has a damaged header: {what} are no list")
    return value


def _entry(value: Any) -> _Entry:
    if not isinstance(value, dict) or value.keys() != {"name", "dtype", "shape", "bytes"}:
        raise _Bad("has a damaged header: an array is not described as it should be")
    name, dtype, shape, size = value["name"], value["dtype"], value["shape"], value["bytes"]
    known = isinstance(dtype, str) and (dtype == _TEXT or dtype in _DTYPES)
    if not isinstance(name, str) or not known:
        raise _Bad(f"has a damaged header: there is no type {dtype!r}")
    sizes = _list(shape, "the dimensions of an array")
    if len(sizes) > _MOST_DIMENSIONS or not all(map(_is_count, (*sizes, size))):
        raise _Bad(f"has a damaged header: the array {name!r} has a size that is none")
    if dtype != _TEXT and math.prod(sizes) * np.dtype(dtype).itemsize != size:
        raise _Bad(f"has a damaged header: the array {name!r} is not as long as its shape says")
    return _Entry(name, dtype, tuple(sizes), size)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _array(entry: _Entry, raw: bytes) -> Array:
    if entry.dtype != _TEXT:
        stored = np.dtype(entry.dtype).newbyteorder("<")
        found = np.frombuffer(raw, stored) if raw else np.zeros(0, stored)
        return found.reshape(entry.shape).astype(entry.dtype, copy=False)
    try:
        texts = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _Bad(f"has damaged text in {entry.name!r}") from error
    whole = isinstance(texts, list) and all(isinstance(one, str) for one in texts)
    if not whole or len(texts) != math.prod(entry.shape):
        raise _Bad(f"has damaged text in {entry.name!r}")
    found = np.empty(len(texts), object)
    found[:] = texts
    return found.reshape(entry.shape)
