"""How a weight is read as a matrix: which elements one output sums over, and share a scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array

# Fewer elements than that are too few for a scale of their own.
_FEWEST = 16
# Elements that are worked on at a time, so that large weights are not held several times.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Rows:
    """A weight of ``shape`` as a matrix of rows, of which each has a scale.

    Attributes:
        shape: Of the weight.
        lead: The leading axes that tell rows apart; the others lie along a row.
        columns: The weight is ``[inputs, outputs]``: its columns are the rows, and ``lead`` is 1.
        groups: Into so many equal parts the rows fall whose inputs are different ones.
    """

    shape: tuple[int, ...]
    lead: int = 1
    columns: bool = False
    groups: int = 1

    @classmethod
    def of_shape(cls, shape: tuple[int, ...]) -> Rows:
        """Rows of a weight of which nothing is known: along as few of the last axes as do."""
        lead = max(0, len(shape) - 1)
        while lead > 0 and math.prod(shape[lead:]) < _FEWEST:
            lead -= 1
        return cls(shape, lead)

    @property
    def length(self) -> int:
        """Elements of a row."""
        return self.shape[0] if self.columns else math.prod(self.shape[self.lead :])

    def matrix(self, weight: Array) -> Array:
        """``weight`` as ``[rows, length]``, a view where that is possible."""
        return weight.T if self.columns else weight.reshape(-1, self.length)

    def weight(self, matrix: Array) -> Array:
        """The weight of which ``matrix`` is the matrix."""
        found = matrix.T if self.columns else matrix.reshape(self.shape)
        return np.ascontiguousarray(found)

    def row_scale(self, scale: Array) -> Array:
        """One number a row, ``[rows]``, in the shape that multiplies the weight."""
        if self.columns:
            return scale[None, :]
        return scale.reshape(*self.shape[: self.lead], *[1] * (len(self.shape) - self.lead))

    def block_scale(self, scale: Array) -> tuple[Array, tuple[int, ...]]:
        """One number a block, ``[rows, blocks]``, in the shape that multiplies, and the blocks'.

        The latter is the weight with the axis that rows lie along split in two.
        """
        rows, count = scale.shape
        block = self.length // count
        if self.columns:
            return np.ascontiguousarray(scale.T)[:, None, :], (count, block, rows)
        return scale[:, :, None], (rows, count, block)

    def block(self, most: int) -> int:
        """The largest part of a row, up to ``most`` elements, that rows consist of."""
        return max(size for size in range(1, most + 1) if self.length % size == 0)

    def chunks(self, rows: int) -> Iterator[slice]:
        """Parts of all ``rows`` that are worked on at a time; groups are not parted."""
        step = rows if self.groups > 1 else max(1, _CHUNK // max(1, self.length))
        return (slice(start, start + step) for start in range(0, rows, step))
