"""Quantization operators of ONNX Runtime's models, in NumPy.

QuantizeLinear and DequantizeLinear of opsets 10 to 18, which the ONNX reference evaluator
lacks, and com.microsoft's DynamicQuantizeLSTM.
https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.engines.reference_operators.recurrent import lstm


def quantize_linear(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Codes of x: ``x / scale`` rounded half to even, plus the zero point, clipped to the type."""
    x, scale, zero_point = _three(inputs)
    if zero_point is None:
        zero_point = np.uint8(0)
    limits = np.iinfo(zero_point.dtype)
    steps = np.rint(x / _along(scale, x, attributes)) + _along(zero_point, x, attributes)
    return (np.clip(steps, limits.min, limits.max).astype(zero_point.dtype),)


def dequantize_linear(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """The values of codes: their distance from the zero point, times the scale."""
    codes, scale, zero_point = _three(inputs)
    steps = codes.astype(np.int64)  # bias codes have 32 bits, so a difference of two may need 33
    if zero_point is not None:
        steps = steps - _along(zero_point, codes, attributes)
    return (steps.astype(scale.dtype) * _along(scale, codes, attributes),)


def dynamic_quantize_lstm(
    attributes: Mapping[str, Any], inputs: Sequence[Any]
) -> tuple[Array, ...]:
    """An LSTM with 8-bit weights that quantizes X and the hidden state while it runs.

    X is quantized as a whole for each direction, the hidden state at each step over all sequences
    that have not ended; the products are integer products. Weights are [directions, inputs,
    4·hidden], their scales and zero points [directions] or [directions, 4·hidden].
    """
    x, w, r, *others = inputs[:8]
    scales, zero_points = {1: inputs[8], 2: inputs[10]}, {1: inputs[9], 2: inputs[11]}
    weights = {1: w.astype(np.float64), 2: r.astype(np.float64)}

    def multiply(rows: Array, which: int, place: int) -> Array:
        steps, scale = _rounded(rows)
        # Sums of integers below 2**53 are exact in float64, which is faster than int64 here.
        product = steps @ (weights[which][place] - zero_points[which][place])
        return np.asarray(product * (scale * scales[which][place].astype(np.float64)))

    plain = [x, w.swapaxes(1, 2), r.swapaxes(1, 2), *others]
    return lstm(attributes, plain, multiply)


def _rounded(rows: Array) -> tuple[Array, float]:
    """Quantize rows to 8 bits like DynamicQuantizeLinear; codes less zero point, and the scale."""
    rows = rows.astype(np.float32)
    low = np.minimum(rows.min(initial=0), np.float32(0))
    high = np.maximum(rows.max(initial=0), np.float32(0))
    scale = np.float32((high - low) / np.float32(255)) if high > low else np.float32(1)
    zero_point = np.clip(np.rint(-low / scale), 0, 255)
    codes = np.clip(np.rint(rows / scale) + zero_point, 0, 255)
    return (codes - zero_point).astype(np.float64), float(scale)


def _three(inputs: Sequence[Any]) -> tuple[Any, Any, Any]:
    x, scale, *rest = inputs
    return x, scale, rest[0] if rest else None


def _along(parameter: Any, x: Array, attributes: Mapping[str, Any]) -> Any:
    """A scale or zero point, reshaped to broadcast along the axis of ``x`` it belongs to."""
    if np.size(parameter) == 1:
        return np.reshape(parameter, ())
    shape = [1] * x.ndim
    shape[attributes.get("axis", 1)] = -1
    return np.reshape(parameter, shape)
