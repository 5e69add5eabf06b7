"""What is remembered of a tensor while data streams by.

An observer reduces every batch at once and keeps a state whose size does not grow with the
data. States of the same kind merge: two halves merged equal the whole, so shards can be
calibrated apart and combined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError

# Values are sorted into bins so many at a time: their places stay in the processor's cache.
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Range:
    """The interval of real values that eight bits have to cover; ``low <= high``."""

    low: float
    high: float


class Observer(Protocol):
    """A streaming statistic of one tensor."""

    def update(self, batch: Array) -> None:
        """Take in one batch, of any shape; an empty one changes nothing."""
        ...

    def merge(self, other: Self) -> Self:
        """A new observer that has seen what both have seen."""
        ...


class RangeObserver(Observer, Protocol):
    """An observer that ends in a range."""

    def range(self) -> Range:
        """The range so far; raises ``DataError`` when nothing was seen."""
        ...


class MinMaxObserver:
    """The smallest and the largest value ever seen, and those of every channel along ``axis``.

    Raises ``DataError`` for NaN and infinities: they have no place on an integer grid. Where the
    number of channels varies from batch to batch, only the range of the whole is kept.
    """

    def __init__(self, axis: int | None = None, bounds: tuple[Array, Array] | None = None) -> None:
        self._axis = axis
        self._low: Array = np.asarray(np.inf)
        self._high: Array = np.asarray(-np.inf)
        if bounds is not None:
            self._low, self._high = bounds

    def update(self, batch: Array) -> None:
        """Take in one batch, float of any shape."""
        if batch.size == 0:
            return
        low, high = self._reduce(batch, np.min), self._reduce(batch, np.max)
        # min and max carry a NaN through, so the two of them see every bad value.
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise DataError(describe_not_finite(batch))
        self._add(low, high)

    def merge(self, other: MinMaxObserver) -> MinMaxObserver:
        """The observer of both halves."""
        merged = MinMaxObserver(self._axis)
        for half in (self, other):
            if half.seen:
                merged._add(half._low, half._high)
        return merged

    def scaled(self, factors: Array) -> MinMaxObserver:
        """The observer of the same values, every channel multiplied by its positive factor."""
        return MinMaxObserver(self._axis, (self._low * factors, self._high * factors))

    def shifted(self, offset: Array) -> MinMaxObserver:
        """The observer of the same values, every channel less its offset."""
        return MinMaxObserver(self._axis, (self._low - offset, self._high - offset))

    @property
    def seen(self) -> bool:
        """Whether there were any values."""
        return bool(np.all(self._low <= self._high))

    def range(self) -> Range:
        """The smallest and the largest value seen."""
        if not self.seen:
            raise DataError("no values were seen; calibrate with at least one sample")
        return Range(float(self._low.min()), float(self._high.max()))

    def channels(self) -> tuple[Array, Array]:
        """Smallest and largest value of every channel, ``[channels]``; ``[]`` where not kept."""
        self.range()
        return self._low, self._high

    def _reduce(self, batch: Array, how: Callable[..., Any]) -> Array:
        axes = None
        if self._axis is not None and batch.ndim >= 2:
            axes = tuple(d for d in range(batch.ndim) if d != self._axis % batch.ndim)
        # Which zero comes out, 0 or -0, depends on the order: adding 0 makes them one.
        return np.asarray(how(batch, axis=axes)) + 0

    def _add(self, low: Array, high: Array) -> None:
        if self.seen and low.shape != self._low.shape:
            self._axis = None
            self._low, self._high = self._low.min(), self._high.max()
            low, high = low.min(), high.max()
        self._low = np.minimum(self._low, low)
        self._high = np.maximum(self._high, high)


class HistogramObserver:
    """How often values fall into each of ``bins`` equal bins of a fixed interval.

    The interval comes from a first pass (``MinMaxObserver``), so that counts of two halves add
    up exactly. What is outside is counted at the nearest edge; with ``inside_only``, not at all.
    """

    def __init__(self, span: Range, bins: int = 2048, *, inside_only: bool = False) -> None:
        self.span = span
        self._inside_only = inside_only
        self.counts: Array = np.zeros(bins, dtype=np.int64)
        width = (span.high - span.low) / bins
        self._per_unit = 1.0 / width if width > 0 else 0.0

    def update(self, batch: Array) -> None:
        """Take in one batch, float of any shape."""
        flat = batch.reshape(-1)
        if self._inside_only:
            flat = flat[(flat >= self.span.low) & (flat <= self.span.high)]
        bins = len(self.counts)
        low, per_unit = np.float32(self.span.low), np.float32(self._per_unit)
        for start in range(0, flat.size, _CHUNK):
            place = flat[start : start + _CHUNK] - low
            place *= per_unit
            np.clip(place, 0, bins - 1, out=place)
            self.counts += np.bincount(place.astype(np.intp), minlength=bins)

    def merge(self, other: HistogramObserver) -> HistogramObserver:
        """The observer of both halves; they must be of the same interval."""
        if other.span != self.span or len(other.counts) != len(self.counts):
            raise ValueError("only histograms of one interval and as many bins can be merged")
        merged = HistogramObserver(
            self.span, len(self.counts), inside_only=self._inside_only and other._inside_only
        )
        merged.counts = self.counts + other.counts
        return merged

    def centers(self) -> Array:
        """The middle of every bin, float64."""
        bins = len(self.counts)
        width = (self.span.high - self.span.low) / bins
        return np.asarray(self.span.low + width * (np.arange(bins) + 0.5))


class InsideObserver:
    """Of the values inside an interval the smallest and the largest, and how many there are."""

    def __init__(self, span: Range) -> None:
        self.span = span
        self.total = self.inside = 0
        self._low, self._high = np.inf, -np.inf

    def update(self, batch: Array) -> None:
        """Take in one batch, float of any shape."""
        inside = batch[(batch >= self.span.low) & (batch <= self.span.high)]
        self.total += batch.size
        self.inside += inside.size
        self._low = min(self._low, float(inside.min(initial=np.inf)))
        self._high = max(self._high, float(inside.max(initial=-np.inf)))

    def merge(self, other: InsideObserver) -> InsideObserver:
        """The observer of both halves; they must be of the same interval."""
        if other.span != self.span:
            raise ValueError("only counts inside one interval can be merged")
        merged = InsideObserver(self.span)
        merged.total, merged.inside = self.total + other.total, self.inside + other.inside
        merged._low, merged._high = min(self._low, other._low), max(self._high, other._high)
        return merged

    def range(self) -> Range:
        """The smallest and the largest value inside; raises ``DataError`` when there were none."""
        if not self.inside:
            raise DataError("no values were seen inside the interval")
        return Range(self._low, self._high)


class ChannelMeanObserver:
    """The mean of every channel along ``axis`` over all other axes, float64 ``[channels]``."""

    def __init__(self, axis: int, total: Array | float = 0.0, count: int = 0) -> None:
        self._axis = axis
        self._total = total
        self._count = count

    def update(self, batch: Array) -> None:
        """Take in one batch, float, any shape that has the axis."""
        channels = batch.shape[self._axis]
        if channels and batch.size:
            axes = tuple(d for d in range(batch.ndim) if d != self._axis % batch.ndim)
            self._total = self._total + batch.sum(axis=axes, dtype=np.float64)
            self._count += batch.size // channels

    def merge(self, other: ChannelMeanObserver) -> ChannelMeanObserver:
        """The observer of both halves."""
        return ChannelMeanObserver(
            self._axis, self._total + other._total, self._count + other._count
        )

    def mean(self) -> Array:
        """The mean of every channel; raises ``DataError`` when nothing was seen."""
        if not self._count:
            raise DataError("no values were seen; calibrate with at least one sample")
        return np.asarray(self._total / self._count)


def describe_not_finite(batch: Array) -> str:
    """Say how many values of ``batch`` are NaN and how many are infinite."""
    nan, infinite = int(np.isnan(batch).sum()), int(np.isinf(batch).sum())
    parts = [f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"{' and '.join(parts)} of {batch.size} values"
