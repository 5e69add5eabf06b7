"""Eight-bit grids for activations: a scale and a zero point.

``q = clip(round(x / scale) + zero_point, 0, 255)`` and ``x ≈ (q - zero_point) * scale``, the
affine quantization of Jacob et al. 2018 (arXiv:1712.05877) and of ONNX QuantizeLinear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quantizers.calibration.observers import Range
from runtimes.base import Array

LEVELS = 255
"""The largest code of an unsigned byte."""

SIGNED_LEVELS, SIGNED_ZERO = 127, 128
"""The largest code of a signed byte, and the unsigned code that stands for its zero."""

SMALLEST_SCALE = 2.0**-60
"""Below this the product of two scales would leave float32's normal numbers."""

# A tensor that was zero for all calibration data has no range. Any grid shows zero exactly;
# this one keeps the bias of the next layer fine (its scale is a multiple) and does not
# saturate at once when the tensor is not so dead after all.
_DEAD_RANGE = Range(0.0, 1.0)


@dataclass(frozen=True)
class QuantizationParameters:
    """Scale (float32) and zero point (0 … 255) of an activation tensor."""

    scale: float
    zero_point: int

    @property
    def low(self) -> float:
        """The smallest value on the grid, as float32 arithmetic gives it."""
        return float(np.float32(-self.zero_point) * np.float32(self.scale))

    @property
    def high(self) -> float:
        """The largest value on the grid, as float32 arithmetic gives it."""
        return float(np.float32(LEVELS - self.zero_point) * np.float32(self.scale))


def grid_for(span: Range, ceiling: float = math.inf) -> QuantizationParameters:
    """The unsigned grid that covers ``span`` and zero; zero is on it exactly.

    Padding and ReLU put zeros everywhere, so an inexact zero would be a bias (Jacob et al.
    2018, section 2.1). A value inside the range comes back within half a scale. ``ceiling`` is
    the upper bound of a Clip that the grid is meant to replace: the grid stays at or below it.
    """
    low, high = min(span.low, 0.0), max(span.high, 0.0)
    high = min(high, ceiling) if ceiling > 0 else high
    if low == high:
        low, high = _DEAD_RANGE.low, min(_DEAD_RANGE.high, ceiling)
    scale = np.float32(max((high - low) / LEVELS, SMALLEST_SCALE))
    zero_point = int(np.clip(np.rint(-low / float(scale)), 0, LEVELS))
    # float32 rounding may lift the top of the grid over the ceiling by one unit, which
    # would keep ONNX Runtime from dropping the Clip.
    while np.float32(LEVELS - zero_point) * scale > np.float32(ceiling) and scale > SMALLEST_SCALE:
        scale = np.nextafter(scale, np.float32(0))
    return QuantizationParameters(float(scale), zero_point)


def symmetric_grid_for(span: Range) -> QuantizationParameters:
    """The grid around zero that covers ``span``: 127 codes on each side, and zero in the middle.

    Less 128, its codes are the signed bytes of a grid whose zero point is 0.
    """
    reach = max(-span.low, span.high) or _DEAD_RANGE.high
    scale = np.float32(max(reach / SIGNED_LEVELS, SMALLEST_SCALE))
    return QuantizationParameters(float(scale), SIGNED_ZERO)


def quantize_array(values: Array, grid: QuantizationParameters) -> Array:
    """Round ``values`` (float, any shape) to the grid: uint8, half to even as ONNX does."""
    codes = np.asarray(values, dtype=np.float32) / np.float32(grid.scale)
    np.rint(codes, out=codes)
    codes += np.float32(grid.zero_point)
    np.clip(codes, 0, LEVELS, out=codes)
    return np.asarray(codes.astype(np.uint8))
