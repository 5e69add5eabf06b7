"""Files of compared shards: what one process writes and another one judges by.

An array file (``runtimes.array_file``) of kind ``kilnxpar``. Its header holds ``identity``,
``start``, ``stop``, ``cpus`` and ``state``, a tree whose arrays stand behind it
(``runtimes.state_tree``). The same samples of the same models are the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtimes.array_file import Kind, array_file_chunks, parse_array_file, read_array_file
from runtimes.atomic_files import atomic_file
from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.parity.shards.part import IDENTITY_FIELDS, Identity, Part
from runtimes.state_tree import packed_tree, unpacked_tree

KIND = Kind("kilnxpar", 1, "the comparison of a shard")
_COUNTS = ("total", "block")


def write_part(
    path: str | os.PathLike[str], raw: bytes, *, force: bool = False, inputs: Iterable[Any] = ()
) -> None:
    """Write the bytes of a part, whole or not at all; see ``refuse_existing``."""
    with atomic_file(path, force=force, inputs=inputs, ours=is_part) as new:
        new.write_bytes(raw)


def is_part(path: Path) -> bool:
    """Whether a file holds a part, which can be made again."""
    with path.open("rb") as file:
        return file.read(len(KIND.name)) == KIND.name.encode("ascii")


def part_chunks(part: Part) -> Iterator[bytes]:
    """The bytes of the file, piece by piece."""
    state, arrays = packed_tree(part.state)
    header = {
        "identity": asdict(part.identity),
        "start": part.start,
        "stop": part.stop,
        "cpus": part.cpus,
        "state": state,
    }
    return array_file_chunks(KIND, header, arrays)


def read_part(path: str | os.PathLike[str]) -> Part:
    """Read a file of a part; ``DataError`` for any other."""
    return _checked(*read_array_file(path, KIND), Path(path).name)


def parse_part(raw: bytes, name: str) -> Part:
    """``read_part`` for the bytes of a file, which messages call ``name``."""
    return _checked(*parse_array_file(raw, KIND, name), name)


def _checked(header: dict[str, Any], arrays: Mapping[str, Array], name: str) -> Part:
    try:
        if header.keys() != {"identity", "start", "stop", "cpus", "state"}:
            raise ValueError("its header has other entries")
        identity = _identity(header["identity"])
        start, stop = header["start"], header["stop"]
        if not (_is_count(start) and _is_count(stop) and start < stop <= identity.total):
            raise ValueError("its range of samples is none")
        if not isinstance(header["cpus"], str):
            raise ValueError("its CPU is no text")
        state = unpacked_tree(header["state"], arrays)
    except ValueError as error:
        raise DataError(f"{name} is damaged: {error}; compare the shard anew") from error
    return Part(identity, start, stop, state, header["cpus"], name)


def _identity(value: Any) -> Identity:
    if not isinstance(value, dict) or value.keys() != set(IDENTITY_FIELDS):
        raise ValueError("it does not say what it is of")
    for name, one in value.items():
        if not (_is_count(one) if name in _COUNTS else isinstance(one, str)):
            raise ValueError(f"{name} in it is none")
    return Identity(**value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
