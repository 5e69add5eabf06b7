"""Shapes as data, constants, and other dtypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of


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


def cast_like(call: Call) -> Sequence[Tensor]:
    """The dtype of the second input."""
    import tensorflow as tf

    x = call[0]
    return [x.like(tf.cast(x.data, call[1].data.dtype))]


def eye_like(call: Call) -> Sequence[Tensor]:
    """Ones on a diagonal of a matrix of zeros."""
    import tensorflow as tf

    rows, columns = sizes_of(call.first(0))
    kind = call.attribute("dtype")
    wanted = call.first(0).dtype if kind is None else ir.DataType(kind).numpy().name
    if kind is not None and ir.DataType(kind).is_floating_point():
        wanted = call.dtype
    distance = tf.range(columns)[None, :] - tf.range(rows)[:, None]
    return [Tensor(tf.cast(distance == call.attribute("k", 0), wanted))]


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


OPERATORS: dict[str, Operator] = {
    "Cast": cast,
    "CastLike": cast_like,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "EyeLike": eye_like,
    "Range": range_,
    "Shape": shape,
    "Size": size,
}
