"""Which share of each sample falls into which bin: ``[samples, features, bins]``, rows sum to one.

A value of its own falls into one bin; the pixels of an image fall into several. Either way a sample
weighs one, whatever its size, and so samples stay the unit of every bound and every test.
"""

from __future__ import annotations

import numpy as np

from runtimes.base import Array
from runtimes.monitor.forms import measure
from runtimes.monitor.layout import UNIT, Block


class Binning:
    """A block with its edges as one array."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._edges = np.full((len(block.names), max(map(len, block.edges), default=0)), np.inf)
        for row, edges in zip(self._edges, block.edges, strict=False):
            row[: len(edges)] = edges
        self._strings = {one: place for place, one in enumerate(block.categories)}
        self._numbers = np.array(
            [one for one in block.categories if not isinstance(one, str)], np.int64
        )

    def shares(self, array: Array) -> Array:
        """The shares of samples ``[samples, …]`` of the block's tensor."""
        values = measure(self.block.form, array, len(self.block.names))
        places = self._places(values)
        bins = self.block.bins
        if places.shape[-1] == 1:
            return np.asarray(places == np.arange(bins), np.float64)
        rows = np.arange(places.shape[0] * places.shape[1]).reshape(*places.shape[:2], 1)
        counts = np.bincount((places + rows * bins).reshape(-1), minlength=rows.size * bins)
        return np.asarray(counts.reshape(*places.shape[:2], bins) / places.shape[-1])

    def _places(self, values: Array) -> Array:
        if self.block.edges:
            above: Array = (values[..., None] > self._edges[:, None, :]).sum(axis=-1)
            finite = np.isfinite(values)
            if not finite.all():
                above[~finite] = self.block.bins - 1
            return above
        other = len(self.block.categories)
        if values.dtype.kind not in "iub":
            flat = [self._strings.get(_text(one), other) for one in values.reshape(-1).tolist()]
            return np.array(flat, np.int64).reshape(values.shape)
        if not self._numbers.size:
            return np.full(values.shape, other)
        found = np.searchsorted(self._numbers, values).clip(0, self._numbers.size - 1)
        return np.where(self._numbers[found] == values, found, other)


def whole_units(shares: Array, unit: int) -> Array:
    """Shares as integers that sum to ``unit``: what rounding leaves goes to the largest."""
    if unit == 1:
        return np.rint(shares).astype(np.int64)
    found = np.floor(shares * UNIT + 1e-6).astype(np.int64)
    largest = found.argmax(axis=-1)[..., None]
    rest = UNIT - found.sum(axis=-1, keepdims=True)
    np.put_along_axis(found, largest, np.take_along_axis(found, largest, -1) + rest, -1)
    return found


def text_of(value: object) -> str:
    """A string element of a tensor, which may be bytes."""
    return _text(value)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
