"""What kernels on bytes compute, written out."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantizers.calibration.scales import QuantizationParameters
from quantizers.weights.saturation import HIGHEST, LOWEST

Array = np.ndarray[Any, np.dtype[Any]]


def dequantize_array(codes: Array, grid: QuantizationParameters) -> Array:
    """The float32 values of ``codes`` (uint8, any shape)."""
    shifted = codes.astype(np.int32) - grid.zero_point
    return np.asarray(shifted.astype(np.float32) * np.float32(grid.scale))


def saturating_product(activation: Array, weight: Array) -> Array:
    """``activation @ weight`` as ``vpmaddubsw`` kernels compute it: int32 ``[rows, outputs]``.

    ``activation`` uint8 ``[rows, inputs]``, ``weight`` int8 ``[inputs, outputs]``. Neighbouring
    products, 0 and 1, 2 and 3, …, are added in saturating 16 bits, their sums in 32.
    """
    rows, inputs = activation.shape
    odd = inputs % 2
    left = np.pad(activation.astype(np.int32), ((0, 0), (0, odd))).reshape(rows, -1, 2, 1)
    right = np.pad(weight.astype(np.int32), ((0, odd), (0, 0))).reshape(1, -1, 2, weight.shape[1])
    pairs = np.clip((left * right).sum(axis=2), LOWEST, HIGHEST)
    return np.asarray(pairs.sum(axis=1, dtype=np.int32))
