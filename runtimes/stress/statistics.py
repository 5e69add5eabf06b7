"""What the data say of an input: what it is, how it varies, and what of it has to stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.stress.images import pixel_axes
from runtimes.stress.padding import padded_steps

InputKind = Literal["image", "sequence", "features", "volume", "tokens"]

# A feature of no more values is a mask, a code or one-hot: nothing lies between its values.
FEW_VALUES = 16
_PASS = 256
# Rows that say how many values a feature has, and tokens that may replace others.
_MOST_ROWS, _ROWS_OF_A_BATCH, _MOST_TOKENS = 4096, 1024, 65_536
_RANKS: Mapping[int, InputKind] = {2: "features", 3: "sequence", 4: "image"}


@dataclass(frozen=True, eq=False)
class Statistics:
    """How one input varies.

    ``mean``, ``deviation``, ``low`` and ``high`` are of all values of an image, else of each
    feature; ``varies`` tells those that may change (of tokens: each position). ``whole``: all
    values are whole numbers and stay so. ``tokens``: those seen. ``axes``: of the pixels.
    """

    kind: InputKind
    mean: Array
    deviation: Array
    low: Array
    high: Array
    varies: Array
    whole: bool = False
    tokens: Array | None = None
    axes: tuple[int, int] = (0, 1)

    def kept(self, sample: Array, changed: Array) -> Array:
        """``changed`` in the dtype and range of the data, with what has to stay as in ``sample``.

        That is what does not vary, and padding.
        """
        if self.whole and self.tokens is None:
            changed = np.rint(changed)
        if self.tokens is None:
            changed = np.clip(changed, self.low, self.high)
        changed = np.where(self.varies, changed, sample).astype(sample.dtype)
        if self.kind in {"sequence", "tokens"} and sample.ndim:
            padded = padded_steps(sample)
            changed[padded] = sample[padded]
        return changed


def input_statistics(
    data: Dataset, looked_up: Collection[str] | None = None
) -> dict[str, Statistics]:
    """The statistics of those inputs of ``data`` that may be perturbed at all.

    ``looked_up``: names of inputs that index a table; None where nothing tells: then whole numbers
    of integer dtype are taken for such. Left out are integers of any other use, strings, truth
    values, and what takes only few values.
    """
    seen: dict[str, _Seen] = {}
    for batch in data.batches(_PASS):
        for name, array in batch.feed.items():
            seen.setdefault(name, _Seen()).add(array)
    found = {}
    for name, one in seen.items():
        index = one.dtype.kind in "iu" if looked_up is None else name in looked_up
        statistics = one.tokens() if index else one.numbers()
        if statistics is not None:
            found[name] = statistics
    return found


class _Seen:
    """Moments, range and values of one input, over batches."""

    def __init__(self) -> None:
        self.dtype: np.dtype[np.generic] = np.dtype(np.void)
        self._shapes: set[tuple[int, ...]] = set()
        self._rows: list[Array] = []
        self._positions: list[tuple[Array, Array]] = []
        self._tokens: Array = np.empty(0)
        self._count = self._held = 0
        self._total: Array = np.zeros(1)
        self._squares: Array = np.zeros(1)
        self._low: Array = np.full(1, np.inf)
        self._high: Array = np.full(1, -np.inf)
        self._whole = True

    def add(self, array: Array) -> None:
        """Take in a batch."""
        self.dtype = array.dtype
        if array.dtype.kind not in "fiu" or not array.size:
            return
        self._shapes.add(array.shape[1:])
        self._whole = self._whole and bool((array == np.floor(array)).all())
        self._add_rows(_rows(array).astype(np.float64))
        if self._whole:
            self._positions.append((array.min(axis=0), array.max(axis=0)))
            if len(self._tokens) < _MOST_TOKENS:
                self._tokens = np.union1d(self._tokens, _unpadded(array))

    def _add_rows(self, rows: Array) -> None:
        if not len(rows):
            return
        if self._count and self._total.shape != rows.shape[1:]:  # of another length: all in one
            rows = rows.reshape(-1, 1)
            self._merge()
        self._count += len(rows)
        self._total = self._total + rows.sum(axis=0)
        self._squares = self._squares + (rows**2).sum(axis=0)
        self._low = np.minimum(self._low, rows.min(axis=0))
        self._high = np.maximum(self._high, rows.max(axis=0))
        if self._held < _MOST_ROWS:
            if len(rows) > _ROWS_OF_A_BATCH:  # not at equal distances, as the pixels of a column
                rows = rows[np.random.default_rng(0).integers(0, len(rows), _ROWS_OF_A_BATCH)]
            self._rows.append(rows)
            self._held += len(rows)

    def _merge(self) -> None:
        self._count *= self._total.size
        self._total, self._squares = self._total.sum()[None], self._squares.sum()[None]
        self._low, self._high = self._low.min()[None], self._high.max()[None]
        self._rows = [rows.reshape(-1, 1) for rows in self._rows]

    def numbers(self) -> Statistics | None:
        """Of floats; None where they take few values, or are one a sample."""
        ranks = {len(shape) + 1 for shape in self._shapes}
        if self.dtype.kind != "f" or len(ranks) != 1 or min(ranks) < 2 or not self._count:
            return None
        rows = np.sort(np.concatenate(self._rows), axis=0)
        varies = 1 + (np.diff(rows, axis=0) > 0).sum(axis=0) > FEW_VALUES
        if not varies.any():
            return None
        mean = self._total / self._count
        deviation = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0.0))
        kind = _RANKS.get(min(ranks), "volume")
        return Statistics(
            kind,
            mean,
            deviation,
            self._low,
            self._high,
            varies,
            self._whole,
            axes=pixel_axes(min(self._shapes)) if kind == "image" else (0, 1),
        )

    def tokens(self) -> Statistics | None:
        """Of indices; None where there are few."""
        if not self._whole or len(self._tokens) <= FEW_VALUES:
            return None
        varies: Array = np.ones(1, bool)
        if len(self._shapes) == 1:  # what stands at the same place in every sample is no word
            lows, highs = zip(*self._positions, strict=True)
            varies = np.min(lows, axis=0) < np.max(highs, axis=0)
        low, high = self._tokens[:1], self._tokens[-1:]
        spread = np.zeros(1)
        return Statistics("tokens", spread, spread, low, high, varies, True, self._tokens)


def _rows(array: Array) -> Array:
    """The values of a batch, feature by feature; of images in one column. Without padding."""
    if array.ndim >= 4:
        return array.reshape(-1, 1)
    if array.ndim < 3:
        return array.reshape(len(array), -1)
    return np.concatenate([sample[~padded_steps(sample)] for sample in array])


def _unpadded(array: Array) -> Array:
    if array.ndim < 2:
        return np.unique(array)
    return np.unique(np.concatenate([sample[~padded_steps(sample)] for sample in array]))
