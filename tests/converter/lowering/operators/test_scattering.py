"""Several writes to one place, with and without ONNX's reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.errors import UnsupportedOperator

PLACES = np.array([[[0, 1], [2, 2], [0, 1], [1, 0]]], np.int32)
UPDATES = np.array([[[1.5], [2.0], [-4.0], [3.0]]], np.float32)


def written(keras: Any, how: str, dtype: str = "float32", places: Any = None) -> Any:
    import tensorflow as tf

    def write(tensors: Any) -> Any:
        updates = tf.cast(tensors[0], dtype)[0]
        at = tf.constant(places) if places is not None else tf.cast(tensors[1], tf.int32)[0]
        if how == "new":
            return tf.scatter_nd(at, updates, (3, 3, 1))
        return getattr(tf, f"tensor_scatter_nd_{how}")(tf.ones((3, 3, 1), dtype), at, updates)

    tensors = [keras.Input((4, 1)), keras.Input((4, 2), dtype="int32")]
    return keras.Model(tensors, keras.layers.Lambda(write, name="write", dtype=dtype)(tensors))


@pytest.mark.parametrize("how", ["new", "add", "sub", "max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_places_named_twice(keras: Any, parity: Any, how: str, dtype: str) -> None:
    if (how, dtype) == ("sub", "uint8"):
        pytest.skip("TensorFlow wraps around")
    updates = np.abs(UPDATES) if dtype == "uint8" else UPDATES
    parity(written(keras, how, dtype), [[updates, PLACES]])


@pytest.mark.parametrize("how", ["new", "max"])
def test_an_opset_without_reductions_takes_places_that_differ(
    keras: Any, parity: Any, how: str
) -> None:
    from converter.export.export import export

    apart = np.array([[0, 1], [2, 2], [0, 2], [1, 0]], np.int32)
    parity(written(keras, how, places=apart), [[UPDATES, PLACES]], opset=13)
    with pytest.raises(UnsupportedOperator, match=r"'write'.*one place.*--opset 1[68]"):
        export(written(keras, how), opset=13)
