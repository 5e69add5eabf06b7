"""What a bundle is made of: its files, each as the parts that follow one another in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from runtimes.agent.messages import Part
from runtimes.agent.typed_json import Malformed, read
from runtimes.bundle.file_names import MOST_FILES, is_plain_name

LARGEST_RECIPE = 16 << 20
"""Bytes; enough for some hundred gigabytes of bundle."""

PUSHES = ("v2", "repository", "pushes")
"""Where on a server the pushes are, as the parts of a path."""


@dataclass(frozen=True)
class Recipe:
    """The parts of a bundle's files, manifest and signature among them, by name."""

    files: Mapping[str, tuple[Part, ...]]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every part once, as files by name first need it: its place is its number on the wire."""
        named = sorted(self.files.items())
        return tuple(dict.fromkeys(part for _, parts in named for part in parts))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.size for parts in self.files.values() for part in parts)

    def to_bytes(self) -> bytes:
        """One text for each recipe, as it is sent: digests and sizes of each file's parts."""
        told = {
            name: ["".join(part.digest for part in parts), [part.size for part in parts]]
            for name, parts in sorted(self.files.items())
        }
        return json.dumps({"files": told}, separators=(",", ":")).encode()

    @classmethod
    def of(cls, raw: bytes) -> Recipe:
        """Read what ``to_bytes`` wrote; raises ``Malformed``."""
        try:
            told: Any = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise Malformed("the recipe is not JSON") from error
        kind = dict[str, dict[str, tuple[str, tuple[int, ...]]]]
        files = read(kind, told, "the recipe").get("files", {})
        if not 0 < len(files) <= MOST_FILES or not all(map(is_plain_name, files)):
            raise Malformed("the recipe names too many files, none, or one that is no file's name")
        return cls({name: _parts(*file) for name, file in files.items()})


def digest_of(raw: bytes | memoryview) -> str:
    """SHA-256, in hexadecimal digits: the name of a part, and of a push."""
    return hashlib.sha256(raw).hexdigest()


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, written short: ``0-3,7``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in found)


def numbers_of(text: str, count: int) -> list[int]:
    """Read what ``ranges`` wrote, of numbers below ``count``; raises ``Malformed``."""
    found: list[int] = []
    for first, last in _pairs(text):
        if not (found[-1] if found else -1) < first <= last < count:
            raise Malformed(f"{text[:50]!r} are no ascending numbers of parts")
        found += range(first, last + 1)
    return found


def _pairs(text: str) -> Iterator[tuple[int, int]]:
    for one in text.split(",") if text else ():
        first, _, last = one.partition("-")
        for number in (first, last or first):
            if not (number.isascii() and number.isdigit() and len(number) < 10):
                raise Malformed(f"{one[:50]!r} is no range of parts")
        yield int(first), int(last or first)


def _parts(digests: str, sizes: tuple[int, ...]) -> tuple[Part, ...]:
    if len(digests) != 64 * len(sizes):
        raise Malformed("the recipe has more digests than sizes, or fewer")
    return tuple(Part(digests[64 * n : 64 * (n + 1)], size) for n, size in enumerate(sizes))
