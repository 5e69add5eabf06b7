"""Eight-bit weights and the 32-bit biases that go with them.

Weights are symmetric and signed, one scale a channel, codes -127 … 127: with a zero point of
zero the kernel needs no correction term, and leaving -128 out keeps the grid symmetric
(Krishnamoorthi 2018, arXiv:1806.08342, section 3). A bias is at ``input scale × weight
scale`` with zero point zero, so that it adds to the INT32 accumulator as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantizers.calibration.scales import SMALLEST_SCALE
from runtimes.base import Array

WEIGHT_LEVELS = 127
"""The largest code of a weight."""

# Half of INT32: the sum of products has to fit next to the bias.
BIAS_LEVELS = 2**30
"""The largest code of a bias."""


@dataclass(frozen=True)
class QuantizedWeight:
    """Codes (int8, the shape of the weight) and scales (float32, ``[channels]`` or ``[]``)."""

    codes: Array
    scale: Array
    axis: int | None

    def values(self) -> Array:
        """The float32 weights that the codes stand for."""
        shape = [1] * self.codes.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        return np.asarray(self.codes.astype(np.float32) * self.scale.reshape(shape))


def weight_scale(
    weight: Array,
    axis: int | None,
    *,
    bias: Array | None = None,
    input_scale: float = 1.0,
    levels: Array | float = WEIGHT_LEVELS,
) -> Array:
    """Scale a channel of ``weight`` along ``axis`` (``None``: one for all), float32.

    The largest absolute value of the channel gets the code ``levels`` (a number a channel).
    With a ``bias`` (``[channels]``) the scale is raised where the bias would not fit into INT32
    otherwise: a channel of (almost) zero weights gets its scale from its bias and keeps it exact
    to 30 bits.
    """
    others = tuple(d for d in range(weight.ndim) if d != axis) if axis is not None else None
    largest = np.abs(weight.astype(np.float64)).max(axis=others, initial=0.0)
    scale = np.asarray(largest / levels, dtype=np.float64)
    if bias is not None:
        needed = np.abs(bias.astype(np.float64)) / (input_scale * BIAS_LEVELS)
        scale = np.maximum(scale, needed if axis is not None else needed.max(initial=0.0))
    return np.maximum(scale, SMALLEST_SCALE).astype(np.float32)


def quantize_weight(weight: Array, scale: Array, axis: int | None) -> QuantizedWeight:
    """Round ``weight`` (float32) to int8 codes; ``scale`` as ``weight_scale`` gives it."""
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    codes = np.rint(weight.astype(np.float32) / scale.reshape(shape))
    codes = np.clip(codes, -WEIGHT_LEVELS, WEIGHT_LEVELS).astype(np.int8)
    return QuantizedWeight(codes, scale, axis)


def bias_scale(input_scale: float, scale: Array) -> Array:
    """The scale of the bias: float32 product, the way the kernel forms it."""
    return np.asarray(np.float32(input_scale) * scale.astype(np.float32), dtype=np.float32)


def quantize_bias(bias: Array, scale: Array) -> Array:
    """Round ``bias`` (float32 ``[channels]``) to int32 codes at ``scale``."""
    codes = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    return np.asarray(np.clip(codes, -BIAS_LEVELS, BIAS_LEVELS).astype(np.int32))
