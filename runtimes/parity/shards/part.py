"""What a comparison of one shard found, and which of them make up the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from runtimes.errors import DataError


@dataclass(frozen=True)
class Identity:
    """What shards have in common, or else do not belong together.

    Attributes:
        reference: Digest of the reference.
        candidate: Digest of the candidate.
        kilnx: Version of kilnx.
        engines: What ran both, with versions.
        places: Where the candidate ran.
        asked: What was compared: metrics, tolerances, samples of a run.
        total: Samples of the whole.
        block: Samples at whose multiples shards begin.
        first: Digest of the first sample of the whole.
    """

    reference: str
    candidate: str
    kilnx: str
    engines: str
    places: str
    asked: str
    total: int
    block: int
    first: str


_MEANINGS = {
    "kilnx": "was made by another version of kilnx",
    "reference": "is of another reference",
    "candidate": "is of another candidate",
    "engines": "was run in other engines, or in other versions of them",
    "places": "is of a candidate that ran elsewhere",
    "asked": "was compared in another way",
    "total": "is of data with another number of samples",
    "first": "is of other data: the first samples differ",
    "block": "was cut at other multiples",
}


@dataclass(frozen=True)
class Part:
    """The comparison of the samples from ``start`` to before ``stop``.

    Attributes:
        identity: What it can be put together with.
        start: Position of the first sample.
        stop: The first position behind the last sample.
        state: That of its ``Comparison``.
        cpus: The vector features of the CPU that ran it, which choose the kernels.
        name: What to call it in messages.
    """

    identity: Identity
    start: int
    stop: int
    state: Mapping[str, Any] = field(repr=False)
    cpus: str = ""
    name: str = field(default="a shard", compare=False)

    def require(self, wanted: Identity) -> None:
        """Raise ``DataError`` where it is not of what is compared here."""
        for name, meaning in _MEANINGS.items():
            mine, theirs = getattr(self.identity, name), getattr(wanted, name)
            if mine != theirs:
                raise DataError(f"{self.name} {meaning}: {mine}, and here it is {theirs}")


def in_order(parts: Iterable[Part], total: int) -> list[Part]:
    """The parts as they follow on each other; ``DataError`` where they are not the whole."""
    found = sorted(parts, key=lambda part: (part.start, part.stop))
    position, before = 0, ""
    for part in found:
        if part.start < position:
            last = min(position, part.stop) - 1
            raise DataError(
                f"{before} and {part.name} both hold the samples {part.start} to {last}; give "
                "every sample once"
            )
        if part.start > position:
            raise _lacking(position, part.start, total)
        position, before = part.stop, part.name
    if position < total:
        raise _lacking(position, total, total)
    return found


def _lacking(start: int, stop: int, total: int) -> DataError:
    return DataError(
        f"the shards lack the samples {start} to {stop - 1} of {total}; give the files of all of "
        "them"
    )


IDENTITY_FIELDS = tuple(one.name for one in fields(Identity))
