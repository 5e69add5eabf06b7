"""Operators that pick elements by their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of


def slice_(call: Call) -> Sequence[Tensor]:
    """From starts to ends in steps, which may be negative, along the axes that are named."""
    x = call[0]
    if call.node.attributes.get("starts") is not None:  # before opset 10
        starts, ends = list(call.attribute("starts")), list(call.attribute("ends"))
        axes, steps = list(call.attribute("axes") or range(len(starts))), [1] * len(starts)
    else:
        starts, ends = call.numbers(1), call.numbers(2)
        axes = (
            call.integers(3, "axes") if call.optional(3) is not None else list(range(len(starts)))
        )
        steps = call.integers(4, "steps") if call.optional(4) is not None else [1] * len(starts)
    places = [slice(None)] * x.rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places[x.axis(axis)] = _slice(start, end, step)
    return [x.like(x.data[tuple(places)])]


def _slice(start: Any, end: Any, step: int) -> slice:
    """ONNX' bounds are far outside where they mean the edge; TensorFlow's are 32-bit."""
    edge = np.iinfo(np.int32).max
    begins, ends = (
        None if isinstance(bound, int) and abs(bound) >= edge else bound for bound in (start, end)
    )
    return slice(begins, ends, step)


def gather(call: Call) -> Sequence[Tensor]:
    """Slices at indices along an axis; negative indices count from behind."""
    import tensorflow as tf

    x, indices = call.first(0), tf.convert_to_tensor(call.first(1))
    axis = call.attribute("axis", 0)
    size = sizes_of(x)[axis]
    indices = tf.where(indices < 0, indices + tf.cast(size, indices.dtype), indices)
    return [Tensor(tf.gather(x, indices, axis=axis))]


def gather_elements(call: Call) -> Sequence[Tensor]:
    """At each place the element at an index along an axis."""
    import tensorflow as tf

    x, indices = call.first(0), tf.convert_to_tensor(call.first(1))
    rank = len(x.shape)
    axis = call.attribute("axis", 0) % rank
    indices = tf.where(indices < 0, indices + tf.cast(sizes_of(x)[axis], indices.dtype), indices)
    order = [*(other for other in range(rank) if other != axis), axis]
    back = [order.index(place) for place in range(rank)]
    moved, picks = tf.transpose(x, order), tf.transpose(indices, order)
    if rank > 1:
        begins = [0] * rank
        sizes = [*sizes_of(picks)[:-1], sizes_of(moved)[-1]]
        moved = tf.slice(moved, begins, sizes)
    return [Tensor(tf.transpose(tf.gather(moved, picks, batch_dims=rank - 1, axis=-1), back))]


def gather_nd(call: Call) -> Sequence[Tensor]:
    """Slices at indices of several axes."""
    import tensorflow as tf

    x, indices = call.first(0), tf.convert_to_tensor(call.first(1))
    leading = call.attribute("batch_dims", 0)
    count = int(indices.shape[-1])
    sizes = [tf.cast(size, indices.dtype) for size in sizes_of(x)[leading : leading + count]]
    indices = tf.where(indices < 0, indices + tf.stack(sizes), indices)
    return [Tensor(tf.gather_nd(x, indices, batch_dims=leading))]


def one_hot(call: Call) -> Sequence[Tensor]:
    """The second of two values at each index, the first elsewhere."""
    import tensorflow as tf

    indices, depth, values = call.first(0), call.numbers(1)[0], call.first(2)
    indices = tf.math.floormod(tf.cast(indices, tf.int64), tf.cast(depth, tf.int64))
    hot = tf.one_hot(indices, depth, values[1], values[0], call.attribute("axis", -1))
    return [Tensor(hot)]


def trilu(call: Call) -> Sequence[Tensor]:
    """The upper or lower triangle of matrices, from the diagonal ``k`` on."""
    import tensorflow as tf

    x = call.first(0)
    k = call.numbers(1)[0] if call.optional(1) is not None else 0
    rows, columns = sizes_of(x)[-2:]
    distance = tf.range(columns)[None, :] - tf.range(rows)[:, None]
    kept = distance >= k if call.attribute("upper", 1) else distance <= k
    return [Tensor(tf.where(kept, x, tf.zeros_like(x)))]


def cumulative_sum(call: Call) -> Sequence[Tensor]:
    """The sum of everything before along an axis."""
    import tensorflow as tf

    axis = call.integers(1, "axis")[0]
    data = tf.cumsum(
        call.first(0),
        axis,
        exclusive=bool(call.attribute("exclusive", 0)),
        reverse=bool(call.attribute("reverse", 0)),
    )
    return [Tensor(data)]


def top_k(call: Call) -> Sequence[Tensor]:
    """The largest or smallest values along an axis, in order, and where they were."""
    import tensorflow as tf

    x, count = call.first(0), call.numbers(1)[0]
    rank = len(x.shape)
    axis = call.attribute("axis", -1) % rank
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    moved = tf.transpose(x, order)
    sign = 1 if call.attribute("largest", 1) else -1
    values, places = tf.math.top_k(sign * moved, count)
    places = tf.cast(tf.transpose(places, order), tf.int64)
    return [Tensor(tf.transpose(sign * values, order)), Tensor(places)]


OPERATORS: dict[str, Operator] = {
    "CumSum": cumulative_sum,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "Slice": slice_,
    "TopK": top_k,
    "Trilu": trilu,
}
