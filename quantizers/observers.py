"""What is remembered of a tensor while data streams by.

An observer reduces every batch at once and keeps a state whose size does not grow with the
data. States of the same kind merge: two halves merged equal the whole, so shards can be
calibrated apart and combined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError


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
    """The smallest and the largest value ever seen.

    Raises ``DataError`` for NaN and infinities: they have no place on an integer grid.
    """

    def __init__(self, low: float = np.inf, high: float = -np.inf) -> None:
        self._low = low
        self._high = high

    def update(self, batch: Array) -> None:
        """Take in one batch, float of any shape."""
        if batch.size == 0:
            return
        # min and max carry a NaN through, so the two of them see every bad value.
        low, high = float(batch.min()), float(batch.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(describe_not_finite(batch))
        self._low = min(self._low, low)
        self._high = max(self._high, high)

    def merge(self, other: MinMaxObserver) -> MinMaxObserver:
        """The observer of both halves."""
        return MinMaxObserver(min(self._low, other._low), max(self._high, other._high))

    def range(self) -> Range:
        """The smallest and the largest value seen."""
        if self._low > self._high:
            raise DataError("no values were seen; calibrate with at least one sample")
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
