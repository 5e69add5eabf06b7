"""The covariance of what a kernel multiplies its weights with, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from quantizers.policy.plan import Unit
from runtimes.base import Array
from runtimes.onnx_graph.values import constant

# So many rows of one batch, evenly spread: neighbouring positions say nearly the same.
_ROWS = 4096

LARGEST = 2304
"""Inputs of a kernel (channels times taps) beyond which a covariance costs too much."""


def kernel_inputs(unit: Unit) -> int | None:
    """Inputs that one output of ``unit`` sums over; None where it has no such matrix form."""
    weight = constant(unit.weight)
    if weight is None or len(unit.weight.uses() if unit.weight else ()) != 1:
        return None
    return unit.operator.kernel_inputs(unit.node, weight)


class CovarianceObserver:
    """Mean and covariance of the inputs of a unit's kernel, by groups of a grouped Conv.

    Keeps the sum of outer products, float64 ``[groups, inputs, inputs]``, for any number of
    samples. The sums of two halves add up to those of the whole.
    """

    def __init__(self, unit: Unit) -> None:
        size = kernel_inputs(unit)
        if size is None:
            raise ValueError(f"{unit.name} has no matrix form")
        self._unit = unit
        groups = unit.operator.groups(unit.node)
        self._products: Array = np.zeros((groups, size, size))
        self._sums: Array = np.zeros((groups, size))
        self._count = 0

    def update(self, batch: Array) -> None:
        """Take in one batch of the unit's input."""
        if not batch.size:
            return
        operator, weight = self._unit.operator, self._unit.weight_array()
        rows = operator.kernel_rows(self._unit.node, weight, batch, _stride)
        self._products += rows.transpose(0, 2, 1) @ rows
        self._sums += rows.sum(axis=1, dtype=np.float64)
        self._count += rows.shape[1]

    def merge(self, other: CovarianceObserver) -> CovarianceObserver:
        """The observer of both halves."""
        merged = CovarianceObserver(self._unit)
        merged._products = self._products + other._products
        merged._sums = self._sums + other._sums
        merged._count = self._count + other._count
        return merged

    def covariance(self, *, centered: bool) -> Array:
        """Covariance, or mean outer product where the mean counts too: ``[groups, K, K]``."""
        products = self._products / max(1, self._count)
        if centered:
            mean = self._sums / max(1, self._count)
            products = products - mean[:, :, None] * mean[:, None, :]
        return products


def scaled_covariance(covariance: Array, factors: Array) -> Array:
    """The covariance after each channel of the input was multiplied by its factor.

    ``covariance`` is ``[groups, inputs, inputs]`` with the taps of a channel next to each other,
    ``factors`` ``[channels]``, of all groups.
    """
    groups, inputs, _ = covariance.shape
    taps, rest = divmod(groups * inputs, len(factors))
    if rest:
        raise ValueError(f"{groups} × {inputs} inputs are not of {len(factors)} channels")
    each = np.repeat(factors, taps).reshape(groups, inputs)
    scaled = covariance.astype(np.float64) * each[:, :, None] * each[:, None, :]
    return np.asarray(scaled.astype(covariance.dtype))


class ScaledCovariances(Mapping[str, Array]):
    """``covariances`` by unit name, scaled when they are asked for: kept, they would take as much.

    ``factors``: of the channels of what each unit reads, by unit name; others are as they were.
    """

    def __init__(self, covariances: Mapping[str, Array], factors: Mapping[str, Array]) -> None:
        self._covariances, self._factors = covariances, factors

    def __getitem__(self, name: str) -> Array:
        found = self._covariances[name]
        if name not in self._factors:
            return found
        return scaled_covariance(found, self._factors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._covariances)

    def __len__(self) -> int:
        return len(self._covariances)


def _stride(rows: int) -> int:
    stride = max(1, -(-rows // _ROWS))
    # An even stride would see the same columns of every image only.
    return stride if stride == 1 or stride % 2 else stride + 1
