"""Operators that move, repeat or pick elements without computing with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of, static, to_first, to_last


def reshape(call: Call) -> Sequence[Tensor]:
    """The same elements in another shape; 0 keeps a size unless ``allowzero``, -1 is the rest."""
    import tensorflow as tf

    x, wanted = call.first(0), static(call.first(1))
    if wanted is None:
        return [Tensor(tf.reshape(x, tf.cast(call.first(1), tf.int32)))]
    shape = [int(size) for size in wanted]
    if not call.attribute("allowzero", 0):
        sizes = sizes_of(x)
        shape = [sizes[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return [Tensor(tf.reshape(x, shape))]


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
        sizes = call.integers(1, "sizes")
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


def slice_(call: Call) -> Sequence[Tensor]:
    """From starts to ends in steps, which may be negative, along the axes that are named."""
    x = call[0]
    if call.node.attributes.get("starts") is not None:  # before opset 10
        starts, ends = list(call.attribute("starts")), list(call.attribute("ends"))
        axes, steps = list(call.attribute("axes") or range(len(starts))), [1] * len(starts)
    else:
        starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
        axes = (
            call.integers(3, "axes") if call.optional(3) is not None else list(range(len(starts)))
        )
        steps = call.integers(4, "steps") if call.optional(4) is not None else [1] * len(starts)
    places = [slice(None)] * x.rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places[x.axis(axis)] = _slice(start, end, step)
    return [x.like(x.data[tuple(places)])]


def _slice(start: int, end: int, step: int) -> slice:
    """ONNX' bounds are far outside where they mean the edge; TensorFlow's are 32-bit."""
    edge = np.iinfo(np.int32).max
    begins = None if abs(start) >= edge else start
    ends = None if abs(end) >= edge else end
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
    return [Tensor(tf.gather_nd(x, indices, batch_dims=leading))]


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


def pad(call: Call) -> Sequence[Tensor]:
    """With a constant, a reflection or the edge behind and before each axis; negative pads crop."""
    import tensorflow as tf

    x = call.first(0)
    rank = len(x.shape)
    given = call.integers(1, "pads") if call.optional(1) is not None else call.attribute("pads")
    axes = (
        [axis % rank for axis in call.integers(3, "axes")]
        if call.optional(3) is not None
        else (list(range(rank)))
    )
    pads = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        pads[axis] = (given[place], given[place + len(axes)])
    x = x[tuple(_crop(before, behind) for before, behind in pads)]
    pads = [(max(before, 0), max(behind, 0)) for before, behind in pads]
    mode = call.attribute("mode", "constant")
    if mode == "constant":
        value = call.first(2) if call.optional(2) is not None else call.attribute("value", 0)
        value = tf.reshape(tf.cast(value, x.dtype), [])
        return [Tensor(tf.pad(x, pads, constant_values=value))]
    if mode == "reflect":
        return [Tensor(tf.pad(x, pads, "REFLECT"))]
    return [Tensor(_by_gathering(call, x, pads, mode))]


def _crop(before: int, behind: int) -> slice:
    return slice(-before if before < 0 else None, behind if behind < 0 else None)


def _by_gathering(call: Call, x: Any, pads: Sequence[tuple[int, int]], mode: str) -> Any:
    """Padding by ``edge`` or ``wrap``: each place reads another one."""
    import tensorflow as tf

    for axis, (before, behind) in enumerate(pads):
        if not before and not behind:
            continue
        size = sizes_of(x)[axis]
        places = tf.range(-before, size + behind)
        if mode == "edge":
            places = tf.clip_by_value(places, 0, size - 1)
        elif mode == "wrap":
            places = tf.math.floormod(places, size)
        else:
            raise call.refuse(f"its mode is {mode!r}")
        x = tf.gather(x, places, axis=axis)
    return x


def shape(call: Call) -> Sequence[Tensor]:
    """The sizes of the axes, or of those from ``start`` to ``end``."""
    import tensorflow as tf

    sizes = sizes_of(call.first(0))[call.attribute("start", 0) : call.attribute("end")]
    if all(isinstance(size, int) for size in sizes):
        return [Tensor(np.array(sizes, np.int64))]
    return [Tensor(tf.stack([tf.cast(size, tf.int64) for size in sizes]))]


def size(call: Call) -> Sequence[Tensor]:
    """The number of elements."""
    import tensorflow as tf

    return [Tensor(tf.size(call.first(0), tf.int64))]


def cast(call: Call) -> Sequence[Tensor]:
    """Another dtype; floats of any width are computed in one."""
    import tensorflow as tf

    x = call[0]
    wanted = ir.DataType(call.attribute("to"))
    if wanted.is_floating_point():
        return [x.like(tf.cast(x.data, call.dtype))]
    return [x.like(tf.cast(x.data, wanted.numpy().name))]


def constant_of_shape(call: Call) -> Sequence[Tensor]:
    """One value everywhere, 0 where none is named."""
    import tensorflow as tf

    given = call.attribute("value")
    value = np.zeros(1, np.float32) if given is None else np.asarray(given.numpy())
    if value.dtype.kind == "f":
        value = value.astype(call.dtype)
    return [Tensor(tf.fill(tf.cast(call.first(0), tf.int32), value.reshape(-1)[0]))]


def constant(call: Call) -> Sequence[Tensor]:
    """A value that the node itself holds."""
    given = call.attribute("value")
    if given is not None:
        value = np.asarray(given.numpy())
    else:
        names = ("value_float", "value_floats", "value_int", "value_ints")
        found = [call.attribute(name) for name in names if call.attribute(name) is not None]
        if not found:
            raise call.refuse("it holds neither numbers nor a tensor of them")
        value = np.asarray(found[0])
        value = value.astype(np.int64 if value.dtype.kind == "i" else np.float32)
    return [Tensor(value.astype(call.dtype) if value.dtype.kind == "f" else value)]


def range_(call: Call) -> Sequence[Tensor]:
    """From a start to a limit in steps."""
    import tensorflow as tf

    start, limit, delta = (tf.reshape(call.first(place), []) for place in (0, 1, 2))
    return [Tensor(tf.range(start, limit, delta))]


def one_hot(call: Call) -> Sequence[Tensor]:
    """The second of two values at each index, the first elsewhere."""
    import tensorflow as tf

    indices, depth, values = call.first(0), call.integers(1, "depth")[0], call.first(2)
    indices = tf.math.floormod(tf.cast(indices, tf.int64), depth)
    hot = tf.one_hot(indices, depth, values[1], values[0], call.attribute("axis", -1))
    return [Tensor(hot)]


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


def trilu(call: Call) -> Sequence[Tensor]:
    """The upper or lower triangle of matrices, from the diagonal ``k`` on."""
    import tensorflow as tf

    x = call.first(0)
    k = call.integers(1, "diagonal")[0] if call.optional(1) is not None else 0
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


def top_k(call: Call) -> Sequence[Tensor]:
    """The largest or smallest values along an axis, in order, and where they were."""
    import tensorflow as tf

    x, count = call.first(0), call.integers(1, "counts")[0]
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
    "Cast": cast,
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "CumSum": cumulative_sum,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "ReverseSequence": reverse_sequence,
    "Shape": shape,
    "Size": size,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "TopK": top_k,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
}
