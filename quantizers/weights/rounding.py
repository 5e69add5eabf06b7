"""Rounding weights so that errors cancel in what a layer computes, not in the weights.

Rounding every weight to the nearest code is best only if inputs are uncorrelated. What counts
is the error of the outputs, ``ΔW C ΔWᵀ`` with ``C`` the covariance of the inputs of a kernel
(their mean is the bias correction's). Its minimum over codes is sought twice:

- ``round_in_turn``: column after column, each error spread over the columns that are still to
  come by the inverse of ``C`` (Frantar et al. 2023, GPTQ, arXiv:2210.17323). Cheap.
- ``learn_rounding``: up or down for all weights at once, by Adam on a relaxation whose gates a
  growing penalty drives to 0 and 1 (Nagel et al. 2020, AdaRound, arXiv:2004.10568). The layer's
  loss is quadratic and known from ``C``, so no data are needed again and no autodiff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array

# A share of the mean variance is added to all: inputs that never varied may vary yet.
_DAMPING = 0.01

# Triangular matrices of that size are inverted as any others.
_SMALL = 64

_STEPS = 300
_LEARNING_RATE = 0.1
_PENALTY = 1.0
_WARM_UP = 0.2

# Rectified sigmoid of AdaRound: stretched so that 0 and 1 are reached.
_ZETA, _GAMMA = 1.1, -0.1


@dataclass(frozen=True)
class Elimination:
    """The columns' order of falling variance, and how an error at one spreads over the later ones.

    ``order`` ``[groups, inputs]``, ``factor`` ``[groups, inputs, inputs]``. Depends on the inputs
    alone, and takes most of the time: make it once a layer.
    """

    order: Array
    factor: Array


@dataclass(frozen=True)
class Grouped:
    """A weight as matrices: codes' scale and all, float64.

    ``weight`` ``[groups, outputs, inputs]`` and ``scale`` ``[groups, outputs, 1]``; ``levels``,
    the largest code, ``[groups, outputs, 1]``; ``covariance`` of the inputs
    ``[groups, inputs, inputs]``, and its ``elimination`` where that is known.
    """

    weight: Array
    scale: Array
    levels: Array
    covariance: Array
    elimination: Elimination | None = None


def output_error(layer: Grouped, codes: Array) -> float:
    """Mean squared error that ``codes`` cause in the outputs (up to their mean)."""
    difference = codes * layer.scale - layer.weight
    return float(np.einsum("goi,gij,goj->", difference, layer.covariance, difference))


def round_to_nearest(layer: Grouped) -> Array:
    """The nearest code of every weight, float64."""
    return np.clip(np.rint(layer.weight / layer.scale), -layer.levels, layer.levels)


def eliminate(covariance: Array) -> Elimination:
    """The elimination of inputs with that ``covariance`` ``[groups, inputs, inputs]``."""
    covariance = np.asarray(covariance, dtype=np.float64)
    variance = np.einsum("gii->gi", covariance)
    order = np.argsort(-variance, axis=1, kind="stable")
    groups = np.arange(len(covariance))[:, None, None]
    damped = covariance[groups, order[:, :, None], order[:, None, :]]
    diagonal = np.arange(covariance.shape[2])
    damped[:, diagonal, diagonal] += _ridge(variance)[:, :, 0]
    # Rows of this factor hold how an error at its column is best spread over the later ones.
    return Elimination(order, _factor_of_inverse(damped))


def _factor_of_inverse(matrices: Array) -> Array:
    """The upper factor ``u`` with ``uᵀ u`` the inverse of each matrix, ``[groups, size, size]``.

    The inverse of the factor of the matrix with rows and columns in reverse: a third of the time
    that inverting the matrix takes.
    """
    lower = np.linalg.cholesky(matrices[:, ::-1, ::-1])
    return np.ascontiguousarray(_inverse_of_lower(lower)[:, ::-1, ::-1])


def _inverse_of_lower(matrices: Array) -> Array:
    """The inverses of lower triangular matrices, by halves, so that most of it is products."""
    size = matrices.shape[1]
    if size <= _SMALL:
        return np.tril(np.linalg.inv(matrices))
    half = size // 2
    first = _inverse_of_lower(matrices[:, :half, :half])
    last = _inverse_of_lower(matrices[:, half:, half:])
    found = np.zeros_like(matrices)
    found[:, :half, :half], found[:, half:, half:] = first, last
    found[:, half:, :half] = -(last @ (matrices[:, half:, :half] @ first))
    return found


def round_in_turn(layer: Grouped) -> Array:
    """Codes by columns of falling variance, each error made good by those that follow."""
    levels = layer.levels[:, :, 0]
    codes = spread_errors(
        layer.weight,
        np.broadcast_to(layer.scale, layer.weight.shape),
        layer.elimination or eliminate(layer.covariance),
        lambda exact: np.clip(np.rint(exact), -levels, levels),
    )
    return _better(layer, codes, round_to_nearest(layer))


def spread_errors(
    weight: Array, scale: Array, elimination: Elimination, nearest: Callable[[Array], Array]
) -> Array:
    """What ``nearest`` makes of ``weight / scale`` column by column, errors spread over the rest.

    ``weight`` and ``scale`` are ``[groups, outputs, inputs]``, float64; ``nearest`` gets the
    columns one at a time, ``[groups, outputs]``, and so does the result come: in units of the
    scale.
    """
    groups, outputs, inputs = weight.shape
    order, factor = elimination.order, elimination.factor
    # Columns first, so that each is in one piece of memory.
    along = np.broadcast_to(order[:, :, None], (groups, inputs, outputs))
    weight = np.take_along_axis(weight.transpose(0, 2, 1), along, axis=1)
    scale = np.take_along_axis(scale.transpose(0, 2, 1), along, axis=1)
    codes = np.empty_like(weight)
    block = 64
    for start in range(0, inputs, block):
        stop = min(start + block, inputs)
        errors = np.empty((groups, stop - start, outputs))
        for column in range(start, stop):
            exact = weight[:, column]
            code = nearest(exact / scale[:, column])
            error = (exact - code * scale[:, column]) / factor[:, column, column][:, None]
            weight[:, column:stop] -= factor[:, column, column:stop, None] * error[:, None, :]
            codes[:, column] = code
            errors[:, column - start] = error
        if stop < inputs:
            weight[:, stop:] -= factor[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    found = np.empty((groups, outputs, inputs))
    np.put_along_axis(found.transpose(0, 2, 1), along, codes, axis=1)
    return found


def learn_rounding(layer: Grouped, *, steps: int = _STEPS) -> Array:
    """Codes by gradient descent on the choice between the two nearest codes of every weight.

    Starts from ``round_in_turn`` where that is one of the two, and is never worse than it.
    """
    start = round_in_turn(layer)
    # Single precision: a gradient needs no more, and a matrix product takes half the time.
    scale, weight = layer.scale.astype(np.float32), layer.weight.astype(np.float32)
    exact = layer.weight / layer.scale
    whole = np.clip(np.floor(exact), -layer.levels, layer.levels - 1)
    floor = whole.astype(np.float32)
    variance = np.einsum("gii->gi", layer.covariance)
    damped = layer.covariance + _ridge(variance) * np.eye(layer.weight.shape[2])
    # In units of the loss of a weight at the start: one learning rate suits all layers.
    loss = max(output_error(layer, start) / start.size, 1e-30)
    covariance = (damped / loss).astype(np.float32)
    gate = np.clip(0.7 * np.clip(exact - whole, 0, 1) + 0.3 * (start - whole), 0.02, 0.98)
    theta = _inverse_gate(gate).astype(np.float32)
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, steps + 1):
        sigmoid = 1 / (1 + np.exp(-theta))
        gate = np.clip(sigmoid * (_ZETA - _GAMMA) + _GAMMA, 0, 1)
        slope = sigmoid * (1 - sigmoid) * (_ZETA - _GAMMA) * ((gate > 0) & (gate < 1))
        difference = (floor + gate) * scale - weight
        gradient = 2 * (difference @ covariance) * scale
        rest = (step / steps - _WARM_UP) / (1 - _WARM_UP)
        if rest > 0:
            power = np.float32(19 - 18 * rest)
            lean = 2 * gate - 1
            pull = 2 * (power + 1) * np.abs(lean) ** power * np.sign(lean)
            gradient = gradient - np.float32(_PENALTY) * pull
        gradient = gradient * slope
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * np.square(gradient)
        rate = np.float32(_LEARNING_RATE / (1 - 0.9**step) * np.sqrt(1 - 0.999**step))
        theta -= rate * first / (np.sqrt(second) + np.float32(1e-8))
    learned = np.clip(whole + (theta > 0), -layer.levels, layer.levels)
    return _better(layer, learned, start)


def _better(layer: Grouped, codes: Array, other: Array) -> Array:
    """Row by row, the codes with the smaller error."""
    covariance = np.asarray(layer.covariance, dtype=np.float64)
    first, second = (
        row_errors(found * layer.scale - layer.weight, covariance) for found in (codes, other)
    )
    return np.where((first <= second)[:, :, None], codes, other)


def row_errors(difference: Array, covariance: Array) -> Array:
    """Mean squared error of each output, ``[groups, outputs]``, by that of its weights."""
    return np.asarray(np.einsum("goi,goi->go", difference @ covariance, difference))


def _ridge(variance: Array) -> Array:
    mean = variance.mean(axis=1)[:, None, None]
    return np.asarray(_DAMPING * np.where(mean > 0, mean, 1.0))


def _inverse_gate(gate: Array) -> Array:
    inner = (gate - _GAMMA) / (_ZETA - _GAMMA)
    return np.asarray(np.log(inner / (1 - inner)))
