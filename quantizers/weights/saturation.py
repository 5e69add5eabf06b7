"""Which layers can overflow the 16-bit sums of CPUs without VNNI, and how to keep them from it.

Without VNNI, kernels of ONNX Runtime multiply unsigned by signed bytes with ``vpmaddubsw``, which
adds two neighbouring products in 16 bits and saturates: ``255·127·2`` is 64770, the largest sum
32767. Whether it happens depends on the weights that lie side by side and on the codes that
reach them, and both are known: a pair of neighbouring weights can saturate only if the codes
that were seen on its two inputs, at their largest, bring its sum over the edge.

The usual way out, weights of 7 bits, halves the precision of every weight. Here only the
channels that can saturate are given fewer levels, and no fewer than it takes.
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html#when-and-why-do-i-need-to-try-u8u8
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantizers.calibration.scales import QuantizationParameters, quantize_array
from quantizers.policy.plan import Unit
from quantizers.weights.int8 import WEIGHT_LEVELS
from runtimes.base import Array

LOWEST, HIGHEST = -(2**15), 2**15 - 1
"""The range of a 16-bit sum."""

_FEWEST_LEVELS = 63


@dataclass(frozen=True)
class CodeRange:
    """Smallest and largest code of every input of a kernel, ``[inputs]``."""

    low: Array
    high: Array


def largest_pair_sum(codes: Array, seen: CodeRange) -> Array:
    """How far the sum of a pair can reach, as a multiple of what 16 bits hold, ``[outputs]``.

    ``codes``: weights ``[outputs, inputs]`` in the order of the kernel. Above 1 it can saturate.
    """
    weight = codes.astype(np.float64)
    up = np.where(weight > 0, weight * seen.high, weight * seen.low)
    down = np.where(weight > 0, weight * seen.low, weight * seen.high)
    if weight.shape[1] % 2:
        up, down = (np.pad(one, ((0, 0), (0, 1))) for one in (up, down))
    high = (up[:, ::2] + up[:, 1::2]).max(axis=1, initial=0.0)
    low = (down[:, ::2] + down[:, 1::2]).min(axis=1, initial=0.0)
    return np.asarray(np.maximum(high / HIGHEST, low / LOWEST))


def safe_levels(unit: Unit, grid: QuantizationParameters, low: Array, high: Array) -> Array:
    """The largest code that each output channel's weights may have, ``[outputs]`` float64.

    ``low`` and ``high``: the values seen on each input channel, ``[channels]`` or ``[]``. It is
    127 where nothing can saturate.
    """
    weight = kernel_order(unit)
    if weight is None:
        return np.full(unit_outputs(unit), float(WEIGHT_LEVELS))
    seen = code_range(unit, grid, low, high, weight.shape[1])
    largest = np.abs(weight).max(axis=1, keepdims=True)
    full = weight / np.where(largest > 0, largest, 1.0)
    levels = np.full(len(weight), float(WEIGHT_LEVELS))
    # Half a code more for each weight, because that is what rounding may add.
    reach = largest_pair_sum(full * (WEIGHT_LEVELS + 0.5), seen)
    over = reach > 1
    levels[over] = np.maximum(np.floor(WEIGHT_LEVELS / reach[over]), _FEWEST_LEVELS)
    return levels


def code_range(
    unit: Unit, grid: QuantizationParameters, low: Array, high: Array, inputs: int
) -> CodeRange:
    """The codes seen on each input of the kernel of ``unit``, padding included."""
    bottom, top = quantize_array(low, grid), quantize_array(high, grid)
    if unit.operator.pads_with_zeros(unit.node):
        bottom, top = np.minimum(bottom, grid.zero_point), np.maximum(top, grid.zero_point)
    grouped = unit.operator.groups(unit.node) > 1
    if bottom.ndim == 0 or grouped or inputs % bottom.size:
        return CodeRange(
            np.full(inputs, float(bottom.min())), np.full(inputs, float(top.max(initial=0)))
        )
    times = inputs // bottom.size
    return CodeRange(np.tile(bottom.astype(float), times), np.tile(top.astype(float), times))


def kernel_order(unit: Unit, weight: Array | None = None) -> Array | None:
    """Weights (or codes) as the kernel of ONNX Runtime reads them: ``[outputs, inputs]``.

    None for a kernel that cannot saturate.
    """
    array = unit.weight_array() if weight is None else weight
    return unit.operator.kernel_order(unit.node, array)


def unit_outputs(unit: Unit) -> int:
    """Number of scales of the weight of ``unit`` (1: one for all)."""
    axis = unit.weight_axis
    return 1 if axis is None else int(unit.weight_array().shape[axis])
