"""Pools over windows and over whole maps, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantizers.training.operators.base import Call, Operator
from quantizers.training.operators.windows import Window, window_of
from quantizers.training.tensors import Tensor, sizes_of


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
    return x, window_of(call, call.attribute("kernel_shape"), x.shape[1:-1])


def _pool(x: Any, window: Window, how: str) -> Any:
    import tensorflow as tf

    steps, holes = list(window.strides), list(window.dilations)
    if max(holes) > 1 and max(steps) > 1:
        data = tf.nn.pool(x, list(window.kernel), how, 1, "VALID", dilations=holes)
        return data[(slice(None), *(slice(None, None, step) for step in steps))]
    return tf.nn.pool(x, list(window.kernel), how, steps, "VALID", dilations=holes)


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
    if not call.attribute("ceil_mode", 0):
        return [(0, 0)] * len(x.shape)
    pads: list[tuple[Any, Any]] = [(0, 0)]
    parts = zip(sizes_of(x)[1:-1], window.extent, window.strides, window.pads, strict=True)
    for size, extent, stride, (_, behind) in parts:
        count = -(-(size - extent) // stride) + 1
        begins_outside = (count - 1) * stride >= size - behind
        if not isinstance(size, int):
            raise call.refuse("ceil_mode on an axis whose size is known only at run time")
        count -= int(begins_outside)
        pads.append((0, max((count - 1) * stride + extent - size, 0)))
    return [*pads, (0, 0)]


OPERATORS: dict[str, Operator] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool("reduce_mean"),
    "GlobalMaxPool": global_pool("reduce_max"),
    "MaxPool": max_pool,
}
