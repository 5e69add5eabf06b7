"""QuantizeLinear and DequantizeLinear as fake quantization.

Codes are floats that hold whole numbers, so that what stands between the two operators is
differentiable, too. Rounding lets gradients through as if it were not there, and clipping lets them
through where it does not clip (the straight-through estimator of Bengio et al.,
https://arxiv.org/abs/1308.3432); the gradient by a scale that follows from the two is that of
LSQ (Esser et al., https://arxiv.org/abs/1902.08153).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, static


def quantize(call: Call) -> Sequence[Tensor]:
    """round(x / scale) + zero point, clipped to what the codes can hold."""
    x = call[0]
    scale, zero = _parameters(call, x)
    low, high = limits_of(_code_type(call))
    return [x.like(codes_of(x.data, scale, zero, low, high))]


def dequantize(call: Call) -> Sequence[Tensor]:
    """(codes - zero point) * scale."""
    import tensorflow as tf

    x = call[0]
    scale, zero = _parameters(call, x)
    data = tf.cast(x.data, call.dtype)
    return [x.like((data - zero) * scale if np.any(zero) else data * scale)]


def codes_of(x: Any, scale: Any, zero: Any, low: float, high: float) -> Any:
    """The codes of ``x`` as floats, straight through for gradients."""
    import tensorflow as tf

    return tf.clip_by_value(round_straight_through(x / scale) + zero, low, high)


def round_straight_through(x: Any) -> Any:
    """The nearest whole number (the even one of two), with the gradient of ``x``."""
    import tensorflow as tf

    return x + tf.stop_gradient(tf.math.rint(x) - x)


def limits_of(dtype: ir.DataType) -> tuple[float, float]:
    """The least and the largest code of an integer type."""
    name = dtype.name
    bits = dtype.itemsize * 8
    signed = not name.startswith("U")
    low = -(2 ** (bits - 1)) if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    return float(low), float(high)


def _code_type(call: Call) -> ir.DataType:
    zero = call.node.inputs[2] if len(call.node.inputs) > 2 else None
    if zero is not None and zero.dtype is not None:
        found = zero.dtype
    elif zero is not None and zero.const_value is not None:
        found = zero.const_value.dtype
    else:
        found = ir.DataType(call.attribute("output_dtype", 0) or ir.DataType.UINT8)
    if not found.is_integer():
        raise call.refuse(f"its codes are {found.name}")
    return found


def _parameters(call: Call, x: Tensor) -> tuple[Any, Any]:
    """Scale and zero point in a shape that broadcasts to ``x`` in its order of axes."""
    scale = call.first(1)
    zero_tensor = call.optional(2)
    zero: Any = np.zeros((), call.dtype)
    if zero_tensor is not None:
        zero = static(zero_tensor.first)
        if zero is None:
            raise call.refuse("its zero point is known only at run time")
        zero = zero.astype(call.dtype)
    return _spread(call, scale, x), _spread(call, zero, x)


def _spread(call: Call, parameter: Any, x: Tensor) -> Any:
    rank = len(parameter.shape)
    axis = call.attribute("axis", 1) % max(x.rank, 1)
    block = call.attribute("block_size", 0)
    if block and rank:
        return _in_blocks(parameter, x, axis, block)
    if rank == 0 or (rank == 1 and int(parameter.shape[0]) == 1):
        return _reshaped(parameter, []) if rank else parameter
    sizes = [1] * x.rank
    sizes[x.axis(axis)] = int(parameter.shape[0])
    return _reshaped(parameter, sizes)


def _reshaped(parameter: Any, sizes: list[int]) -> Any:
    """The parameter in another shape; one that is known stays known inside of a tf.function."""
    import tensorflow as tf

    if isinstance(parameter, np.ndarray):
        return parameter.reshape(sizes)
    return tf.reshape(parameter, sizes)


def _in_blocks(parameter: Any, x: Tensor, axis: int, block: int) -> Any:
    """Each value of the parameter holds for ``block`` places along ``axis``."""
    import tensorflow as tf

    spread = Tensor(tf.repeat(parameter, block, axis))
    places = [slice(None)] * x.rank
    places[axis] = slice(0, int(x.first.shape[axis]))
    spread = Tensor(spread.data[tuple(places)])
    return spread.last if x.channels_last else spread.data


OPERATORS: dict[str, Operator] = {"DequantizeLinear": dequantize, "QuantizeLinear": quantize}
