"""Codes of few bits for a weight: with scales, by the row or the block, or by clusters.

Scales minimize the squared error that they cause, not the largest one; a weight's square counts as
much as its input varies. With the covariance of the inputs the error of every weight is spread
over those that follow (GPTQ, Frantar et al. 2023, arXiv:2210.17323), for scales and clusters alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quantizers.calibration.scales import SMALLEST_SCALE
from quantizers.low_bit.clusters import cluster, nearest_index
from quantizers.low_bit.packing import signed
from quantizers.low_bit.rows import Rows
from quantizers.low_bit.weight import LowBitWeight, check_bits
from quantizers.weights.rounding import Elimination, eliminate, row_errors, spread_errors
from runtimes.base import Array

BLOCK = 32
"""Weights that share a scale of four bits, at most."""

# Shares of the scale that covers the largest weight; smaller ones cut it off.
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)

# Smaller ones lose digits as float16, larger ones are infinite.
_HALF = (2.0**-14, 65000.0)


@dataclass(frozen=True)
class Inputs:
    """What is known of what a weight is multiplied with: the mean product of any two inputs.

    ``covariance``: ``[groups, inputs, inputs]``, with the mean (not centered).
    """

    covariance: Array

    @cached_property
    def elimination(self) -> Elimination:
        """How errors are spread; made once for all forms of a weight."""
        return eliminate(self.covariance)

    @cached_property
    def importance(self) -> Array:
        """What the square of each weight's error counts, ``[groups, inputs]``."""
        found: Array = np.einsum("gii->gi", self.covariance).astype(np.float64)
        least = max(0.01 * float(found.mean()), 1e-12)  # inputs that never varied may vary yet
        return np.maximum(found, least)


def scaled(
    weight: Array,
    bits: int,
    *,
    rows: Rows | None = None,
    block: int | None = None,
    inputs: Inputs | None = None,
) -> LowBitWeight:
    """Integers of ``bits`` times a scale for each row, or for each ``block`` elements of it.

    ``weight`` is float32; ``rows`` says what its rows are (None: its last axes); ``inputs``, where
    they are known, which errors cancel. A block is made smaller until rows consist of it.
    """
    check_bits(bits)
    rows = rows or Rows.of_shape(weight.shape)
    matrix = rows.matrix(weight)
    size = rows.length if block is None else rows.block(block)
    importance = _importance(inputs, rows, matrix)
    scale = np.empty((len(matrix), rows.length // size), np.float32)
    for part in rows.chunks(len(matrix)):
        scale[part] = _best_scale(matrix[part], size, bits, importance[part])
    stored = _stored_scale(scale)
    whole = np.repeat(stored.astype(np.float64), size, axis=1)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    codes = _round(matrix, whole, rows, inputs, lambda exact: np.clip(np.rint(exact), low, high))
    if size == rows.length:
        shaped, blocks = rows.row_scale(stored[:, 0]), rows.shape
    else:
        shaped, blocks = rows.block_scale(stored)
    return LowBitWeight(rows.weight(codes.astype(np.int8)), bits, None, shaped, blocks)


def clustered(
    weight: Array,
    clusters: int = 16,
    *,
    rows: Rows | None = None,
    per_row: bool = True,
    inputs: Inputs | None = None,
) -> LowBitWeight:
    """One of ``clusters`` (4 or 16) values for each weight, times a scale for each row.

    Without ``per_row`` there is no scale: the weight then holds so many different values.
    """
    rows = rows or Rows.of_shape(weight.shape)
    matrix = rows.matrix(weight)
    importance = _importance(inputs, rows, matrix)
    spread = _spread(matrix) if per_row else np.ones(len(matrix), np.float32)
    factor = spread.astype(np.float64)[:, None]
    centres = cluster(matrix / spread[:, None], clusters, importance * factor**2)
    bits = _bits_of(clusters)
    index = _indices(matrix, factor, centres, rows, inputs)
    codebook = centres.astype(np.float32)
    scale = None
    if per_row:
        scale = rows.row_scale(_stored_scale(_refit(matrix, centres[index], rows, inputs)))
    codes = rows.weight(signed(index, bits))
    return LowBitWeight(codes, bits, codebook, scale, rows.shape)


@dataclass(frozen=True)
class PairLimit:
    """How far two INT8 weights that a kernel adds up in 16 bits may go together.

    ``order``: the place of every weight (in memory order) as the kernel reads them,
    ``[outputs, inputs]``: the first two are a pair, and so on. ``largest``: the sum of two absolute
    values that is safe, ``[outputs]``.
    """

    order: Array
    largest: Array

    def obeyed(self, index: Array, values: Array) -> Array:
        """``index`` into ascending ``values``, nearer to zero where a pair went too far."""
        found = index.reshape(-1).copy()
        pairs = self.order[:, : self.order.shape[1] // 2 * 2].reshape(len(self.order), -1, 2)
        while True:
            size = np.abs(values[found[pairs]])
            over = size.sum(axis=2) > self.largest[:, None]
            if not over.any():
                return found.reshape(index.shape)
            larger = size[over].argmax(axis=1)
            places = pairs[over][np.arange(len(larger)), larger]
            found[places] -= np.sign(values[found[places]]).astype(found.dtype)


def clustered_codes(
    codes: Array,
    clusters: int,
    *,
    rows: Rows,
    row_scale: Array | None = None,
    inputs: Inputs | None = None,
    limit: PairLimit | None = None,
) -> LowBitWeight:
    """One of ``clusters`` (4 or 16) INT8 values for each of the INT8 ``codes`` of a weight.

    Their scales stay as they are, ``row_scale`` (``[rows]``) says which; so does the ``limit`` of
    what the kernel adds up.
    """
    matrix = rows.matrix(codes)
    importance = _importance(inputs, rows, matrix)
    if row_scale is not None:
        importance = importance * np.square(row_scale.astype(np.float64))[:, None]
    centres = np.rint(cluster(matrix, clusters, importance))
    index = _indices(matrix, np.ones((len(matrix), 1)), centres, rows, inputs)
    index = rows.weight(index)
    if limit is not None:
        index = limit.obeyed(index, centres)
    bits = _bits_of(clusters)
    return LowBitWeight(signed(index, bits), bits, centres.astype(np.int8), None, rows.shape)


def error_of(
    weight: Array,
    stored: LowBitWeight,
    rows: Rows,
    inputs: Inputs | None = None,
    row_scale: Array | None = None,
) -> float:
    """The squared error that a form of ``weight`` causes, in outputs where ``inputs`` are known."""
    before, after = rows.matrix(weight), rows.matrix(stored.values())
    total = 0.0
    for part in rows.chunks(len(before)):
        difference = after[part].astype(np.float64) - before[part]
        if row_scale is not None:
            difference *= row_scale[part].astype(np.float64)[:, None]
        if inputs is None:
            total += float(np.square(difference).sum())
        else:
            grouped = difference.reshape(rows.groups, -1, rows.length)
            total += float(row_errors(grouped, inputs.covariance).sum())
    return total


def _importance(inputs: Inputs | None, rows: Rows, matrix: Array) -> Array:
    """What the square of each weight counts, broadcast to the ``matrix``."""
    if inputs is None:
        return np.broadcast_to(np.float64(1.0), matrix.shape)
    each = np.repeat(inputs.importance, len(matrix) // rows.groups, axis=0)
    return each if rows.groups > 1 else np.broadcast_to(inputs.importance, matrix.shape)


def _best_scale(matrix: Array, size: int, bits: int, importance: Array) -> Array:
    """Scale of every block of ``size``, ``[rows, blocks]``: the least squared error.

    Either sign: there is one more negative code than there are positive ones.
    """
    blocks = matrix.reshape(len(matrix), -1, size).astype(np.float64)
    counts = importance.reshape(blocks.shape)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    largest = _positive(np.abs(blocks).max(axis=2))
    if bits == 8:
        return np.asarray(largest / high)
    best, least = largest / high, np.full(largest.shape, np.inf)
    for share in _SHARES:
        for edge in (high, low):
            scale = share * largest / edge
            codes = np.clip(np.rint(blocks / scale[:, :, None]), low, high)
            mass = (counts * codes * codes).sum(axis=2)
            fit = (counts * codes * blocks).sum(axis=2) / np.where(mass > 0, mass, 1.0)
            scale = np.where(mass > 0, fit, scale)
            error = (counts * np.square(codes * scale[:, :, None] - blocks)).sum(axis=2)
            better = (error < least) & (scale != 0)
            best, least = np.where(better, scale, best), np.where(better, error, least)
    return best


def _spread(matrix: Array) -> Array:
    """Root mean square of every row, as it is stored."""
    square = np.einsum("ri,ri->r", matrix, matrix, dtype=np.float64) / matrix.shape[1]
    return _stored_scale(_positive(np.sqrt(square))).astype(np.float32)


def _positive(scale: Array) -> Array:
    """``scale``, but any for what is zero."""
    return np.where(scale > SMALLEST_SCALE, scale, 1.0)


def _refit(matrix: Array, values: Array, rows: Rows, inputs: Inputs | None) -> Array:
    """The scale of every row, ``[rows]``, with which ``values`` err least in the outputs."""
    found = np.empty(len(matrix))
    for part in rows.chunks(len(matrix)):
        exact, now = (
            one[part].astype(np.float64).reshape(rows.groups, -1, rows.length)
            for one in (matrix, values)
        )
        seen = now if inputs is None else now @ inputs.covariance
        mass = np.einsum("goi,goi->go", seen, now)
        fit = np.einsum("goi,goi->go", seen, exact)
        found[part] = np.where(mass > 0, fit / np.where(mass > 0, mass, 1.0), 0.0).reshape(-1)
    return found


def _stored_scale(scale: Array) -> Array:
    """Scales as they are stored: float16 where that is precise enough."""
    found = np.asarray(scale, dtype=np.float32)
    size = np.abs(found[found != 0])
    if size.size and (size.min() < _HALF[0] or size.max() > _HALF[1]):
        return found
    return found.astype(np.float16)


def _indices(
    matrix: Array, factor: Array, centres: Array, rows: Rows, inputs: Inputs | None
) -> Array:
    """The index of the centre that each weight becomes, ``factor`` (``[rows, 1]``) times it."""
    whole = np.broadcast_to(factor, matrix.shape)
    middles = (centres[1:] + centres[:-1]) / 2
    values = _round(
        matrix, whole, rows, inputs, lambda exact: centres[np.searchsorted(middles, exact)]
    )
    return nearest_index(values, centres)


def _round(
    matrix: Array,
    scale: Array,
    rows: Rows,
    inputs: Inputs | None,
    nearest: Callable[[Array], Array],
) -> Array:
    """What every weight becomes, in units of its scale: the better of two ways, row by row."""
    found = np.empty(matrix.shape, np.float32)
    for part in rows.chunks(len(matrix)):
        exact = matrix[part].astype(np.float64).reshape(rows.groups, -1, rows.length)
        step = scale[part].reshape(exact.shape)
        rounded = nearest(exact / step)
        if inputs is not None:
            turned = spread_errors(exact, step, inputs.elimination, nearest)
            first, second = (
                row_errors(one * step - exact, inputs.covariance) for one in (turned, rounded)
            )
            rounded = np.where((first < second)[:, :, None], turned, rounded)
        found[part] = rounded.reshape(-1, rows.length)
    return found


def _bits_of(clusters: int) -> int:
    if clusters not in (4, 16):
        raise ValueError(f"clusters must be 4 or 16, not {clusters}")
    return clusters.bit_length() - 1
