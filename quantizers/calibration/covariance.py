"""The covariance of what a kernel multiplies its weights with, streamed."""

from __future__ import annotations

import math

import numpy as np

from quantizers.policy.plan import Unit
from runtimes.base import Array
from runtimes.onnx_graph.values import constant, is_op
from runtimes.onnx_graph.windows import rows_of, windows

# So many rows of one batch, evenly spread: neighbouring positions say nearly the same.
_ROWS = 4096

LARGEST = 2304
"""Inputs of a kernel (channels times taps) beyond which a covariance costs too much."""


def kernel_inputs(unit: Unit) -> int | None:
    """Inputs that one output of ``unit`` sums over; None where it has no such matrix form."""
    weight = constant(unit.weight)
    if weight is None or len(unit.weight.uses() if unit.weight else ()) != 1:
        return None
    if is_op(unit.node, "Conv"):
        plain = unit.node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        return int(np.prod(weight.shape[1:])) if plain and weight.ndim in (3, 4) else None
    if weight.ndim != 2:
        return None
    if is_op(unit.node, "Gemm"):
        if unit.node.attributes.get_int("transA", 0):
            return None
        return int(weight.shape[1 - unit.rule.weight_axis(unit.node)])  # type: ignore[operator]
    return int(weight.shape[0])


class CovarianceObserver:
    """Mean and covariance of the inputs of a unit's kernel, by groups of a grouped Conv.

    Keeps the sum of outer products, float64 ``[groups, inputs, inputs]``, whatever the number of
    samples. The sums of two halves add up to those of the whole.
    """

    def __init__(self, unit: Unit) -> None:
        size = kernel_inputs(unit)
        if size is None:
            raise ValueError(f"{unit.name} has no matrix form")
        weight = constant(unit.weight)
        assert weight is not None
        self._unit = unit
        self._kernel = weight.shape[2:] if is_op(unit.node, "Conv") else ()
        self._groups = unit.node.attributes.get_int("group", 1) if self._kernel else 1
        self._products: Array = np.zeros((self._groups, size, size))
        self._sums: Array = np.zeros((self._groups, size))
        self._count = 0

    def update(self, batch: Array) -> None:
        """Take in one batch of the unit's input."""
        if not batch.size:
            return
        rows = self._rows(batch)
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

    def _rows(self, batch: Array) -> Array:
        """What the kernel sees, ``[groups, positions, inputs]``."""
        if not self._kernel:
            flat = batch.reshape(1, -1, batch.shape[-1])
            return np.ascontiguousarray(flat[:, :: _stride(flat.shape[1])])
        node, taps = self._unit.node, len(self._kernel)
        pads = list(node.attributes.get_ints("pads", [0] * (2 * taps)))
        strides = node.attributes.get_ints("strides", [1] * taps)
        dilations = node.attributes.get_ints("dilations", [1] * taps)
        if node.attributes.get_string("auto_pad", "NOTSET") == "VALID":
            pads = [0] * (2 * taps)
        around = [(0, 0), (0, 0), *zip(pads[:taps], pads[taps:], strict=True)]
        padded = np.pad(batch, around) if any(pads) else batch
        views = windows(padded, self._kernel, strides, dilations)
        total = len(views) * math.prod(views.shape[2 : 2 + taps])
        chosen = np.arange(0, total, _stride(total))
        return np.ascontiguousarray(rows_of(views, chosen, self._groups, taps))


def _stride(rows: int) -> int:
    stride = max(1, -(-rows // _ROWS))
    # An even stride would see the same columns of every image only.
    return stride if stride == 1 or stride % 2 else stride + 1
