"""Values of variables and eager tensors, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtimes.base import Array


def bytes_of(value: Any) -> int:
    """Size of a TensorFlow variable or tensor, of which strings count one byte an element."""
    return int(np.prod(value.shape, dtype=np.int64)) * max(int(value.dtype.size or 1), 1)


def values_of(value: Any) -> Array:
    """The values of a TensorFlow variable or eager tensor, where NumPy can without a copy."""
    tensor = value.value() if is_variable(value) else value
    try:
        # An EagerTensor speaks the buffer protocol; TensorFlow copies on write, not on read.
        return np.asarray(memoryview(tensor))
    except (TypeError, ValueError):  # strings, bfloat16 and the float8 types have no buffer
        values: Array = tensor.numpy()
        return values


def is_variable(value: Any) -> bool:
    """Whether ``value`` is a TensorFlow variable, not a tensor."""
    import tensorflow as tf

    return isinstance(value, tf.Variable)
