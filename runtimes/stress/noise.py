"""White noise on some of the samples, as strong as the data vary, and never outside their range.

What only clean samples excite says nothing of the directions that they leave out: pixels that were
doubled are equal, and a fit may do anything with their difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset

# Of the deviation of the data, and of the samples.
STRENGTH = 0.1
SHARE = 0.25
# Inputs of no more values are masks, codes or one-hot: nothing lies between their values.
_FEW_VALUES = 16
# Images have one deviation; features and steps of sequences have one for each feature.
_IMAGE_RANK = 4
_PASS = 256


@dataclass(frozen=True)
class Spread:
    """How one input varies: deviation, least and largest value, for all or each last place."""

    deviation: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Noise:
    """Noise of ``strength`` deviations on a ``share`` of the samples, the same for a ``seed``.

    ``spreads`` by input; those that are not in it stay as they are.
    """

    spreads: Mapping[str, Spread]
    strength: float = STRENGTH
    share: float = SHARE
    seed: int = 0

    def on(self, batch: Batch) -> Batch:
        """The batch with noise on those of its samples whose turn it is, wherever they stand."""
        feed = dict(batch.feed)
        for place, index in enumerate(batch.indices.tolist()):
            random = np.random.default_rng([self.seed, index])
            if random.random() >= self.share:
                continue
            for name, spread in self.spreads.items():
                if feed[name] is batch.feed[name]:
                    feed[name] = batch.feed[name].copy()
                sample = feed[name][place]
                added = self.strength * spread.deviation * random.standard_normal(sample.shape)
                feed[name][place] = np.clip(sample + added, spread.low, spread.high)
        return replace(batch, feed=feed)


def measure_noise(data: Dataset, seed: int = 0) -> Noise:
    """The noise that suits ``data``: on inputs of floats that take more than a few values."""
    sums: dict[str, _Sums] = {}
    for batch in data.batches(_PASS):
        for name, array in batch.feed.items():
            if array.dtype.kind == "f" and array.ndim > 1:
                sums.setdefault(name, _Sums()).add(array.astype(np.float64))
    spreads = {name: one.spread() for name, one in sums.items() if one.is_continuous}
    return Noise(spreads, seed=seed)


class _Sums:
    """Moments and range of one input, over batches."""

    def __init__(self) -> None:
        self._count = 0
        self._total: Array = np.zeros(1)
        self._squares: Array = np.zeros(1)
        self._low: Array = np.full(1, np.inf)
        self._high: Array = np.full(1, -np.inf)
        self._values: set[float] = set()

    def add(self, array: Array) -> None:
        """Take in a batch; samples of another length count all in one."""
        last = 1 if array.ndim >= _IMAGE_RANK else array.shape[-1]
        if self._count and self._total.shape != (last,):
            self._merge()
            last = 1
        rows = array.reshape(-1, last)
        self._count += len(rows)
        self._total = self._total + rows.sum(axis=0)
        self._squares = self._squares + (rows**2).sum(axis=0)
        self._low = np.minimum(self._low, rows.min(axis=0))
        self._high = np.maximum(self._high, rows.max(axis=0))
        if len(self._values) <= _FEW_VALUES:
            self._values.update(np.unique(array)[: _FEW_VALUES + 1].tolist())

    def _merge(self) -> None:
        self._count *= self._total.size
        self._total, self._squares = self._total.sum()[None], self._squares.sum()[None]
        self._low, self._high = self._low.min()[None], self._high.max()[None]

    @property
    def is_continuous(self) -> bool:
        """Whether there are more values than a mask or code has."""
        return len(self._values) > _FEW_VALUES

    def spread(self) -> Spread:
        """Deviation and range."""
        variance = self._squares / self._count - (self._total / self._count) ** 2
        deviation = np.sqrt(np.maximum(variance, 0.0))
        return Spread(*(a.astype(np.float32) for a in (deviation, self._low, self._high)))
