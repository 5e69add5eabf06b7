"""Pools over windows and over whole maps, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantizers.training.operators.base import Call, Operator
from quantizers.training.operators.windows import Window, at_least_0, window_of
from quantizers.training.tensors import Tensor, sizes_of

_PLANE = 2


def max_pool(call: Call) -> Sequence[Tensor]:
    """The largest value of each window; padding never wins."""
    if len(call.node.outputs) > 1 and call.node.outputs[1].uses():
        raise call.refuse("its indices are read")
    x, window = _open(call)
    low = float(np.finfo(call.dtype).min)
    return [Tensor(_pool(_padded(call, x, window, low), window, "MAX"), channels_last=True)]


def average_pool(call: Call) -> Sequence[Tensor]:
    """The mean of each window; padding counts with ``count_include_pad`` only."""
    import tensorflow as tf

    x, window = _open(call)
    padded = _padded(call, x, window, 0.0)
    data = _pool(padded, window, "AVG")
    if not window.is_padded and not call.attribute("ceil_mode", 0):
        return [Tensor(data, channels_last=True)]
    inside = tf.ones_like(x[:1, ..., :1])
    if call.attribute("count_include_pad", 0):  # what ceil_mode adds never counts
        inside = tf.pad(inside, [(0, 0), *window.pads, (0, 0)], constant_values=1.0)
        inside = tf.pad(inside, _behind(call, x, window))
    else:
        inside = _padded(call, inside, window, 0.0)
    return [Tensor(data / _pool(inside, window, "AVG"), channels_last=True)]


def lp_pool(call: Call) -> Sequence[Tensor]:
    """The p-norm of each window."""
    x, window = _open(call)
    p = call.attribute("p", 2)
    powers = _padded(call, _power(x, p), window, 0.0)
    total = _pool(powers, window, "AVG") * float(np.prod(window.kernel))
    return [Tensor(_root(total, p), channels_last=True)]


def global_lp_pool(call: Call) -> Sequence[Tensor]:
    """The p-norm over all spatial axes, which stay with size 1."""
    import tensorflow as tf

    x, p = call[0].last, call.attribute("p", 2)
    axes = list(range(1, len(x.shape) - 1))
    return [Tensor(_root(tf.reduce_sum(_power(x, p), axes, keepdims=True), p), channels_last=True)]


def _power(x: Any, p: int) -> Any:
    import tensorflow as tf

    return tf.abs(x) if p == 1 else x * x if p == 2 else tf.abs(x) ** p


def _root(x: Any, p: int) -> Any:
    import tensorflow as tf

    return x if p == 1 else tf.sqrt(x) if p == 2 else x ** (1 / p)


def global_pool(name: str) -> Operator:
    """The operator that is ``tf.name`` over all spatial axes, which stay with size 1."""

    def operator(call: Call) -> Sequence[Tensor]:
        import tensorflow as tf

        x = call[0].last
        axes = list(range(1, len(x.shape) - 1))
        return [Tensor(getattr(tf, name)(x, axes, keepdims=True), channels_last=True)]

    return operator


def _open(call: Call) -> tuple[Any, Window]:
    x = call[0].last
    return x, window_of(call, call.attribute("kernel_shape"), sizes_of(x)[1:-1])


def _pool(x: Any, window: Window, how: str) -> Any:
    import tensorflow as tf

    if len(window.kernel) > _PLANE:
        return _pool_in_space(x, window, how)
    steps, holes, kernel = window.strides, list(window.dilations), window.kernel
    if max(holes) > 1 or any(step > size for step, size in zip(steps, kernel, strict=True)):
        data = tf.nn.pool(x, list(kernel), how, [1] * len(kernel), "VALID", dilations=holes)
        return data[(slice(None), *(slice(None, None, step) for step in steps))]
    return tf.nn.pool(x, list(kernel), how, list(steps), "VALID")


def _pool_in_space(x: Any, window: Window, how: str) -> Any:
    """Over planes, then over what they leave: TensorFlow's own is slow and float32 only."""
    import tensorflow as tf

    batch, depth, height, width, channels = sizes_of(x)
    data = tf.reshape(x, [batch * depth, height, width, channels])
    data = _pool(data, window.part(slice(1, None)), how)
    rows, columns = sizes_of(data)[1:3]
    data = tf.reshape(data, [batch, depth, rows * columns, channels])
    line = window.part(slice(0, 1))
    data = _pool(data, Window((*line.kernel, 1), (*line.strides, 1), (*line.dilations, 1), ()), how)
    return tf.reshape(data, [batch, sizes_of(data)[1], rows, columns, channels])


def _padded(call: Call, x: Any, window: Window, value: float) -> Any:
    import tensorflow as tf

    if window.is_padded:
        x = tf.pad(x, [(0, 0), *window.pads, (0, 0)], constant_values=value)
    behind = _behind(call, x, window) if call.attribute("ceil_mode", 0) else None
    return x if behind is None else tf.pad(x, behind, constant_values=value)


def _behind(call: Call, x: Any, window: Window) -> list[tuple[Any, Any]]:
    """What ``ceil_mode`` adds behind, so that the last window is whole.

    ``x``: padded already. A window that would begin in the padding behind is left out.
    """
    import tensorflow as tf

    if not call.attribute("ceil_mode", 0):
        return [(0, 0)] * len(x.shape)
    pads: list[tuple[Any, Any]] = [(0, 0)]
    parts = zip(sizes_of(x)[1:-1], window.extent, window.strides, window.pads, strict=True)
    for size, extent, stride, (_, behind) in parts:
        count = -(-(size - extent) // stride) + 1
        begins_outside = (count - 1) * stride >= size - behind
        count -= int(begins_outside) if isinstance(size, int) else tf.cast(begins_outside, tf.int32)
        pads.append((0, at_least_0((count - 1) * stride + extent - size)))
    return [*pads, (0, 0)]


OPERATORS: dict[str, Operator] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool("reduce_mean"),
    "GlobalLpPool": global_lp_pool,
    "GlobalMaxPool": global_pool("reduce_max"),
    "LpPool": lp_pool,
    "MaxPool": max_pool,
}
