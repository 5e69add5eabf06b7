"""What one list has and another lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("dtype", ["int32", "float32", "int64"])
def test_the_difference_of_lists(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    class Difference(keras.layers.Layer):  # type: ignore[misc]
        def call(self, one: Any, other: Any) -> Any:
            found = tf.raw_ops.ListDiff(x=one[0], y=other[0], out_idx=tf.int64)
            return [found.out, found.idx]

    tensors = [keras.Input((None,), dtype=dtype) for _ in range(2)]
    model = keras.Model(tensors, Difference(dtype=dtype)(*tensors))
    values = np.array([[3, 1, 4, 1, 5, 9, 2, 6]], dtype)
    parity(model, [[values, values[:, 2:5]], [values[:, :3], values[:, 3:4] * 7]])
