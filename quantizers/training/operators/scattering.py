"""Operators that write elements to places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of

_WRITES = {
    "add": "tensor_scatter_nd_add",
    "max": "tensor_scatter_nd_max",
    "min": "tensor_scatter_nd_min",
    "none": "tensor_scatter_nd_update",
}


def scatter_nd(call: Call) -> Sequence[Tensor]:
    """Slices written to, or reduced with, those at indices of several axes."""
    import tensorflow as tf

    x, indices = call.first(0), tf.convert_to_tensor(call.first(1))
    sizes = tf.stack([tf.cast(size, indices.dtype) for size in sizes_of(x)])
    indices = tf.where(indices < 0, indices + sizes[: int(indices.shape[-1])], indices)
    return [Tensor(_written(call, x, indices, call.first(2)))]


def scatter_elements(call: Call) -> Sequence[Tensor]:
    """Elements written to, or reduced with, those at an index along an axis."""
    import tensorflow as tf

    x, indices = call.first(0), tf.convert_to_tensor(call.first(1))
    axis = call.attribute("axis", 0) % len(x.shape)
    size = tf.cast(sizes_of(x)[axis], indices.dtype)
    indices = tf.where(indices < 0, indices + size, indices)
    ranges = [tf.range(tf.cast(size, indices.dtype)) for size in sizes_of(indices)]
    places = tf.meshgrid(*ranges, indexing="ij")
    places[axis] = indices
    return [Tensor(_written(call, x, tf.stack(places, -1), call.first(2)))]


def _written(call: Call, x: Any, indices: Any, updates: Any) -> Any:
    import tensorflow as tf

    how = call.attribute("reduction", "none")
    if how not in _WRITES:
        raise call.refuse(f"its reduction is {how}")
    return getattr(tf, _WRITES[how])(x, indices, updates)


OPERATORS: dict[str, Operator] = {
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
}
