"""Normalizations and softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, shape_of, sizes_of

# Before this opset Softmax flattened everything behind its axis.
_SOFTMAX_ALONG_AXIS = 13


def hardmax(call: Call) -> Sequence[Tensor]:
    """1 at the first of the largest values, else 0."""

    def one_hot(x: Any, axis: int) -> Any:
        import tensorflow as tf

        return tf.one_hot(tf.argmax(x, axis), sizes_of(x)[axis], axis=axis, dtype=x.dtype)

    return _along_axis(call, one_hot)


def softmax(name: str) -> Operator:
    """The operator that is ``tf.nn.name`` along an axis."""

    def operator(call: Call) -> Sequence[Tensor]:
        import tensorflow as tf

        return _along_axis(call, getattr(tf.nn, name))

    return operator


def _along_axis(call: Call, compute: Callable[..., Any]) -> Sequence[Tensor]:
    """``compute`` along the axis, or over all from it on as it was before opset 13."""
    import tensorflow as tf

    x = call[0]
    if call.opset >= _SOFTMAX_ALONG_AXIS:
        return [x.like(compute(x.data, axis=x.axis(call.attribute("axis", -1))))]
    axis = call.attribute("axis", 1) % x.rank
    rows: Any = 1
    for size in sizes_of(x.first)[:axis]:
        rows = rows * size
    flat = tf.reshape(x.first, [rows, -1])
    return [Tensor(tf.reshape(compute(flat, axis=-1), shape_of(x.first)))]


def batch_normalization(call: Call) -> Sequence[Tensor]:
    """Scale and shift of each channel by the statistics that training left."""
    import tensorflow as tf

    if call.attribute("training_mode", 0):
        raise call.refuse("it is in training mode")
    x = call[0]
    scale, shift, mean, variance = (call.first(place) for place in (1, 2, 3, 4))
    factor = scale * tf.math.rsqrt(variance + call.attribute("epsilon", 1e-5))
    data = x.last if x.rank > 2 else x.data
    return [Tensor(data * factor + (shift - mean * factor), x.rank > 2)]


def layer_normalization(call: Call) -> Sequence[Tensor]:
    """Mean 0 and variance 1 over all axes from ``axis`` on, then scale and shift."""
    x = call.first(0)
    axis = call.attribute("axis", -1) % len(x.shape)
    data, mean, inverse = _standardized(
        x, list(range(axis, len(x.shape))), call.attribute("epsilon", 1e-5)
    )
    data = data * call.first(1)
    if call.optional(2) is not None:
        data = data + call.first(2)
    return [Tensor(data), Tensor(mean), Tensor(inverse)]


def rms_normalization(call: Call) -> Sequence[Tensor]:
    """Root mean square 1 over all axes from ``axis`` on, then a scale."""
    import tensorflow as tf

    x = call.first(0)
    axis = call.attribute("axis", -1) % len(x.shape)
    axes = list(range(axis, len(x.shape)))
    square = tf.reduce_mean(x * x, axes, keepdims=True)
    inverse = tf.math.rsqrt(square + call.attribute("epsilon", 1e-5))
    return [Tensor(x * inverse * call.first(1))]


def instance_normalization(call: Call) -> Sequence[Tensor]:
    """Mean 0 and variance 1 of each channel of each sample, then scale and shift."""
    x = call[0].last
    axes = list(range(1, len(x.shape) - 1))
    data, _, _ = _standardized(x, axes, call.attribute("epsilon", 1e-5))
    return [Tensor(data * call.first(1) + call.first(2), channels_last=len(x.shape) > 2)]


def group_normalization(call: Call) -> Sequence[Tensor]:
    """Mean 0 and variance 1 of each group of channels, then scale and shift."""
    import tensorflow as tf

    x, groups = call.first(0), call.attribute("num_groups")
    sizes = sizes_of(x)
    split = tf.reshape(x, [sizes[0], groups, -1])
    data, _, _ = _standardized(split, [2], call.attribute("epsilon", 1e-5))
    ones = [1] * (len(sizes) - 2)
    scale, shift = call.first(1), call.first(2)
    if int(scale.shape[0]) == groups != int(x.shape[1]):  # opset 18 has one a group
        each = int(x.shape[1]) // groups
        scale, shift = tf.repeat(scale, each), tf.repeat(shift, each)
    data = tf.reshape(data, shape_of(x))
    return [Tensor(data * tf.reshape(scale, [-1, *ones]) + tf.reshape(shift, [-1, *ones]))]


def lp_normalization(call: Call) -> Sequence[Tensor]:
    """Norm 1 along an axis."""
    import tensorflow as tf

    x = call[0]
    axis = x.axis(call.attribute("axis", -1))
    if call.attribute("p", 2) == 1:
        return [x.like(x.data / tf.reduce_sum(tf.abs(x.data), axis, keepdims=True))]
    return [x.like(x.data * tf.math.rsqrt(tf.reduce_sum(x.data**2, axis, keepdims=True)))]


def local_response_normalization(call: Call) -> Sequence[Tensor]:
    """Division by a power of the sum of squares over neighbouring channels."""
    import tensorflow as tf

    x, size = call[0].last, call.attribute("size")
    before = (size - 1) // 2
    pads = [(0, 0)] * (len(x.shape) - 1) + [(before, size - 1 - before)]
    squares = tf.pad(x * x, pads)
    channels = int(x.shape[-1])
    total = tf.add_n([squares[..., place : place + channels] for place in range(size)])
    alpha, beta = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75)
    base = call.attribute("bias", 1.0) + alpha / size * total
    return [Tensor(x * tf.pow(base, -beta), channels_last=True)]


def _standardized(x: Any, axes: list[int], epsilon: float) -> tuple[Any, Any, Any]:
    """The standardized data, the mean, and one over the deviation."""
    import tensorflow as tf

    mean = tf.reduce_mean(x, axes, keepdims=True)
    centred = x - mean
    variance = tf.reduce_mean(centred * centred, axes, keepdims=True)
    inverse = tf.math.rsqrt(variance + epsilon)
    return centred * inverse, mean, inverse


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "Hardmax": hardmax,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response_normalization,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": softmax("log_softmax"),
    "LpNormalization": lp_normalization,
    "RMSNormalization": rms_normalization,
    "SimplifiedLayerNormalization": rms_normalization,
    "Softmax": softmax("softmax"),
}
