"""Functions that Keras calls, in fewer operators than TensorFlow needs.

TensorFlow's tensordot reshapes both sides to matrices, and its gather wants indices from zero
up; ONNX' MatMul takes leading dimensions as they are, and its Gather counts from the end too.
Keras writes some contractions out, with a Transpose more than they need. Repeating along an
axis of known size is a Gather, where TensorFlow expands, tiles and reshapes.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from converter.lowering.markers import Replacement

# Beyond this the indices of a Gather would be a weight of their own.
_LONGEST_REPETITION = 4096


def function_replacements() -> list[Replacement]:
    """The functions that are replaced while tracing, and one layer that is hardly more."""
    import tensorflow as tf
    from keras import layers

    backend = importlib.import_module("keras.src.backend.tensorflow.numpy")
    return [
        Replacement(backend, "einsum", _einsum),
        Replacement(backend, "take", _take),
        Replacement(tf, "repeat", _repeat),
        Replacement(tf, "switch_case", _switch_case),
        Replacement(tf, "tensordot", _tensordot),
        Replacement(layers.RepeatVector, "call", _repeat_vector),
    ]


def _einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """``keras.ops.einsum`` as one operator, for which ``operators.einsum`` has a lowering."""
    import keras
    import tensorflow as tf

    tensors = [keras.ops.convert_to_tensor(operand) for operand in operands]
    dtypes = {tensor.dtype for tensor in tensors}
    if kwargs or len(dtypes) > 1 or not tensors[0].dtype.is_floating:
        return NotImplemented
    return tf.einsum(subscripts, *tensors)


def _take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """``keras.ops.take`` without its correction of negative indices, which ONNX does itself."""
    import keras
    import tensorflow as tf

    x = keras.ops.convert_to_tensor(x)
    if axis is None or not isinstance(indices, tf.Tensor):
        return NotImplemented
    return tf.gather(x, indices, axis=axis)


def _tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """A contraction of the last axis of ``a`` with the first of a matrix ``b``."""
    import tensorflow as tf

    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    rank = a.shape.rank
    if rank is None or rank < 2 or b.shape.rank != 2 or isinstance(axes, tf.Tensor):
        return NotImplemented
    pair = [axes] if isinstance(axes, int) else np.reshape(axes, -1).tolist()
    last_with_first = pair in ([1], [-1, 0], [rank - 1, 0], [-1, -2], [rank - 1, -2])
    return tf.linalg.matmul(a, b) if last_with_first else NotImplemented


def _repeat(input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> Any:
    import tensorflow as tf

    tensor = tf.convert_to_tensor(input)
    if axis is None or not isinstance(repeats, int) or tensor.shape.rank is None:
        return NotImplemented
    size = tensor.shape[axis]
    if size is None or size * repeats > _LONGEST_REPETITION:
        return NotImplemented
    return tf.gather(tensor, np.repeat(np.arange(size, dtype=np.int32), repeats), axis=axis)


def _switch_case(
    branch_index: Any, branch_fns: Any, default: Any = None, name: str | None = None
) -> Any:
    """The branches as one ``cond`` in the other: ONNX has no switch of more than two ways."""
    import tensorflow as tf

    branches = list(branch_fns)
    if isinstance(branch_fns, dict) or not all(callable(branch) for branch in branches):
        return NotImplemented
    last = branches.pop() if default is None else default

    def taken(number: int) -> Any:
        if number == len(branches):
            return last()
        here = tf.equal(branch_index, number)
        return tf.cond(here, branches[number], lambda: taken(number + 1))

    return taken(0)


def _repeat_vector(layer: Any, inputs: Any) -> Any:
    import tensorflow as tf

    return tf.tile(tf.expand_dims(inputs, 1), [1, layer.n, 1])
