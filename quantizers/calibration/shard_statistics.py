"""What one shard of the data says about a model, and how shards become the whole.

Merging is exact, in whatever order: smallest and largest values have none, samples are kept by
position, ranges of positions are joined. What does not belong together is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantizers.calibration.kept_samples import KeptSource, Samples
from quantizers.calibration.statistics import Statistics
from runtimes.costs.this_cpu import this_cpu
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError

DIGEST_BITS = 256

Interval = tuple[int, int]
"""First position, and the first behind the last one."""


@dataclass(frozen=True)
class Identity:
    """What shards have in common, or else do not belong together.

    Attributes:
        model: Digest of the graph that was observed.
        kilnx: Version of kilnx.
        engine: Version of ONNX Runtime.
        total: Samples of the whole.
        batch: Samples of one run.
        block: Samples at whose multiples shards begin.
        passes: How many values each pass over the data observed.
        first: Digest of the first sample of the whole; None where a shard was not shown it.
    """

    model: str
    kilnx: str
    engine: str
    total: int
    batch: int
    block: int
    passes: tuple[int, ...]
    first: str | None


@dataclass(frozen=True)
class ShardStatistics:
    """Ranges over some samples, and those of the samples that are kept.

    Attributes:
        identity: What it can be merged with.
        intervals: Which samples, ascending and joined.
        digest: Sum of the digests of all samples, modulo 2^256.
        statistics: The ranges.
        kept: The kept samples among them.
        cpus: What CPUs they were run on: their vector features, which choose the kernels.
        name: What to call it in messages.
    """

    identity: Identity
    intervals: tuple[Interval, ...]
    digest: int
    statistics: Statistics
    kept: Samples
    cpus: frozenset[str] = frozenset()
    name: str = field(default="the statistics", compare=False)

    def merge(self, other: ShardStatistics) -> ShardStatistics:
        """The statistics of both; raises ``DataError`` where they do not belong together."""
        identity = _common(self, other)
        return replace(
            self,
            identity=identity,
            intervals=_joined(self, other),
            digest=(self.digest + other.digest) % 2**DIGEST_BITS,
            statistics=self.statistics.merge(other.statistics),
            kept={**self.kept, **other.kept},
            cpus=self.cpus | other.cpus,
        )

    def missing(self) -> Iterator[Interval]:
        """The samples of the whole that are not in it."""
        position = 0
        for start, stop in (*self.intervals, (self.identity.total,) * 2):
            if start > position:
                yield position, start
            position = stop

    def require_whole(self) -> None:
        """Raise ``DataError`` where samples of the whole are missing."""
        gaps = list(self.missing())
        if gaps:
            raise DataError(
                f"the statistics lack {_named(gaps)} of {self.identity.total}; give the files of "
                "all shards"
            )

    def data(self) -> Dataset:
        """The data as far as they were kept: for every step behind the ranges."""
        kept = KeptSource("the statistics", self.identity.total, self.kept)
        return Dataset(kept, notes=self._notes())

    def _notes(self) -> tuple[str, ...]:
        here = this_cpu()
        if self.cpus <= {here}:
            return ()
        seen = "; ".join(sorted(self.cpus))
        return (
            f"calibrated on CPUs with {seen}, and this one has {here}: their kernels may round the "
            "last digit of a scale differently",
        )


def merge_all(shards: Iterable[ShardStatistics]) -> ShardStatistics:
    """The statistics of all shards together, of which there must be one."""
    merged: ShardStatistics | None = None
    for shard in shards:
        if merged is None:
            merged = shard
        else:
            merged = replace(merged.merge(shard), name="the statistics before it")
    if merged is None:
        raise DataError("no statistics were given; give the files that kilnx calibrate wrote")
    return merged


_MEANINGS = {
    "model": "are of another model, or of another form of it",
    "kilnx": "were made by another version of kilnx",
    "engine": "were made with another version of ONNX Runtime",
    "total": "are of data with another number of samples",
    "first": "are of other data: their first samples differ",
    "batch": "were run in batches of another size, as sample 0 of the whole was not the same",
    "block": "were cut at other multiples",
    "passes": "were observed in other passes, as sample 0 of the whole was not the same",
}


def _common(one: ShardStatistics, other: ShardStatistics) -> Identity:
    left, right = one.identity, other.identity
    first = left.first or right.first
    for name, meaning in _MEANINGS.items():
        mine, theirs = _of(left, name, first), _of(right, name, first)
        if mine != theirs:
            raise DataError(f"{other.name} {meaning} ({theirs}) than {one.name} ({mine})")
    return replace(left, first=first)


def _of(identity: Identity, name: str, first: str | None) -> Any:
    found = getattr(identity, name)
    return first if name == "first" and found is None else found


def _joined(one: ShardStatistics, other: ShardStatistics) -> tuple[Interval, ...]:
    found: list[Interval] = []
    for start, stop in sorted((*one.intervals, *other.intervals)):
        if found and start < found[-1][1]:
            twice = start, min(stop, found[-1][1])
            raise DataError(
                f"{one.name} and {other.name} both hold {_named([twice])}; give every sample once"
            )
        if found and start == found[-1][1]:
            found[-1] = found[-1][0], stop
        else:
            found.append((start, stop))
    return tuple(found)


def _named(intervals: Sequence[Interval]) -> str:
    shown = [f"{start} to {stop - 1}" for start, stop in intervals[:5]]
    more = f" and {len(intervals) - 5} more ranges" if len(intervals) > 5 else ""
    return f"the samples {', '.join(shown)}{more}"
