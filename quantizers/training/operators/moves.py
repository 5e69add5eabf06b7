"""Operators that move or repeat elements without computing with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of, static, to_first, to_last


def reshape(call: Call) -> Sequence[Tensor]:
    """The same elements in another shape; 0 keeps a size unless ``allowzero``, -1 is the rest."""
    import tensorflow as tf

    x, wanted = call.first(0), static(call.first(1))
    if wanted is None:
        return [Tensor(_reshaped(call, x, tf.cast(call.first(1), tf.int32)))]
    shape = [int(size) for size in wanted]
    if not call.attribute("allowzero", 0):
        sizes = sizes_of(x)
        shape = [sizes[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return [Tensor(tf.reshape(x, shape))]


def _reshaped(call: Call, x: Any, shape: Any) -> Any:
    """To a ``shape`` that is known at run time, or of which TensorFlow knows parts."""
    import tensorflow as tf

    data = tf.reshape(x, shape)
    if call.attribute("allowzero", 0) or 0 not in list(data.shape):
        return data
    more = max(int(shape.shape[0]) - len(x.shape), 0)
    sizes = tf.pad(tf.shape(x), [(0, more)])[: int(shape.shape[0])]
    return tf.reshape(x, tf.where(shape == 0, sizes, shape))


def flatten(call: Call) -> Sequence[Tensor]:
    """Two axes: all before ``axis``, and all from it on."""
    import tensorflow as tf

    x = call.first(0)
    axis = call.attribute("axis", 1)
    axis = axis + len(x.shape) if axis < 0 else axis
    sizes = sizes_of(x)
    behind = sizes[axis:]
    if all(isinstance(size, int) for size in behind):
        return [Tensor(tf.reshape(x, [-1, int(np.prod(behind))]))]
    rows: Any = 1
    for size in sizes[:axis]:
        rows = rows * size
    return [Tensor(tf.reshape(x, [rows, -1]))]


def transpose(call: Call) -> Sequence[Tensor]:
    """The axes in another order; moving the channels only changes how they are kept."""
    import tensorflow as tf

    x = call[0]
    order = list(call.attribute("perm") or range(x.rank)[::-1])
    if x.rank > 2 and x.channels_last and order == to_last(x.rank):
        return [Tensor(x.data)]
    if x.rank > 2 and not x.channels_last and order == to_first(x.rank):
        return [Tensor(x.data, channels_last=True)]
    return [Tensor(tf.transpose(x.first, order))]


def squeeze(call: Call) -> Sequence[Tensor]:
    """Without the axes of size 1, or those of them that are named."""
    import tensorflow as tf

    x = call.first(0)
    axes = _axes(call)
    return [Tensor(tf.squeeze(x, [axis % len(x.shape) for axis in axes] if axes else None))]


def unsqueeze(call: Call) -> Sequence[Tensor]:
    """With axes of size 1 at the places that are named."""
    import tensorflow as tf

    x = call.first(0)
    axes = _axes(call)
    rank = len(x.shape) + len(axes)
    sizes = sizes_of(x)
    for axis in sorted(axis % rank for axis in axes):
        sizes.insert(axis, 1)
    return [Tensor(tf.reshape(x, sizes))]


def _axes(call: Call) -> list[int]:
    if call.optional(1) is not None:
        return call.integers(1, "axes")
    return list(call.attribute("axes") or [])


def concat(call: Call) -> Sequence[Tensor]:
    """All inputs behind each other along an axis."""
    import tensorflow as tf

    tensors = [tensor for tensor in call.inputs if tensor is not None]
    last = any(tensor.channels_last for tensor in tensors)
    same = [Tensor(tensor.last if last else tensor.first, last) for tensor in tensors]
    axis = same[0].axis(call.attribute("axis"))
    return [same[0].like(tf.concat([tensor.data for tensor in same], axis))]


def split(call: Call) -> Sequence[Tensor]:
    """Parts along an axis: of the sizes that are named, or as equal as they can be."""
    import tensorflow as tf

    x = call[0]
    axis = x.axis(call.attribute("axis", 0))
    if call.optional(1) is not None:
        sizes = call.numbers(1)
    elif call.attribute("split"):
        sizes = list(call.attribute("split"))
    else:
        sizes = _equal_parts(call, x.data.shape[axis])
    return [x.like(part) for part in tf.split(x.data, sizes, axis)]


def _equal_parts(call: Call, size: int | None) -> list[int]:
    count = call.attribute("num_outputs", len(call.node.outputs))
    if size is None:
        raise call.refuse("it splits an axis whose size is known only at run time")
    each = -(-size // count)
    return [each] * (count - 1) + [size - each * (count - 1)]


def expand(call: Call) -> Sequence[Tensor]:
    """Broadcast to a shape, or with it: a 1 in it keeps the size."""
    import tensorflow as tf

    x = call.first(0)
    wanted = tf.cast(call.first(1), tf.int32)
    return [Tensor(tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x), wanted)))]


def tile(call: Call) -> Sequence[Tensor]:
    """Repeated along each axis."""
    import tensorflow as tf

    return [Tensor(tf.tile(call.first(0), call.first(1)))]


def depth_to_space(call: Call) -> Sequence[Tensor]:
    """Blocks of channels become blocks of pixels."""
    import tensorflow as tf

    x, block = call.first(0), call.attribute("blocksize")
    batch, channels, height, width = sizes_of(x)
    each = int(channels) // block**2
    if call.attribute("mode", "DCR") == "CRD":
        parts = tf.reshape(x, [batch, each, block, block, height, width])
        moved = tf.transpose(parts, [0, 1, 4, 2, 5, 3])
    else:
        parts = tf.reshape(x, [batch, block, block, each, height, width])
        moved = tf.transpose(parts, [0, 3, 4, 1, 5, 2])
    return [Tensor(tf.reshape(moved, [batch, each, height * block, width * block]))]


def space_to_depth(call: Call) -> Sequence[Tensor]:
    """Blocks of pixels become blocks of channels."""
    import tensorflow as tf

    x, block = call.first(0), call.attribute("blocksize")
    batch, channels, height, width = sizes_of(x)
    parts = tf.reshape(x, [batch, channels, height // block, block, width // block, block])
    moved = tf.transpose(parts, [0, 3, 5, 1, 2, 4])
    return [
        Tensor(tf.reshape(moved, [batch, channels * block**2, height // block, width // block]))
    ]


def reverse_sequence(call: Call) -> Sequence[Tensor]:
    """The first steps of each sequence backwards, as many as it has."""
    import tensorflow as tf

    data = tf.reverse_sequence(
        call.first(0),
        call.first(1),
        seq_axis=call.attribute("time_axis", 0),
        batch_axis=call.attribute("batch_axis", 1),
    )
    return [Tensor(data)]


OPERATORS: dict[str, Operator] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Reshape": reshape,
    "ReverseSequence": reverse_sequence,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
