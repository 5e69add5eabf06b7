"""One-hot vectors, distinct values, blocks and the largest values in types besides float."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def applied(keras: Any, call: Any, shape: tuple[int | None, ...], dtype: str = "int32") -> Any:
    class Apply(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return call(x)

    tensor = keras.Input(shape, dtype=dtype)
    policy = dtype if dtype.startswith("float") else None
    return keras.Model(tensor, Apply(dtype=policy)(tensor))


@pytest.mark.parametrize("dtype", ["float32", "int32", "int8", "bool"])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_indices_outside_are_off(keras: Any, parity: Any, dtype: str, axis: int) -> None:
    import tensorflow as tf

    model = applied(keras, lambda x: tf.one_hot(x, 5, axis=axis, dtype=dtype,
                    on_value=tf.cast(1, dtype), off_value=tf.cast(0, dtype)), (None,))  # fmt: skip
    parity(model, [[np.array([[-2, -1, 0, 4, 5, 9]], np.int32)]])


def test_one_hot_of_a_scalar(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    model = applied(keras, lambda x: tf.one_hot(tf.reduce_min(x), tf.size(x), axis=0), (None,))
    parity(model, [[np.array([[2, 3, 5]], np.int32)], [np.array([[-1]], np.int32)]])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64", "float32", "float16"])
@pytest.mark.parametrize("places", ["int32", "int64"])
def test_distinct_values(keras: Any, parity: Any, dtype: str, places: str) -> None:
    import tensorflow as tf

    def distinct(x: Any) -> Any:
        return list(tf.unique_with_counts(tf.reshape(x, [-1]), out_idx=tf.as_dtype(places)))

    model = applied(keras, distinct, (None,), dtype)
    parity(model, [[np.array([[3, 1, 3, 2, 1]], dtype)]])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "float32"])
@pytest.mark.parametrize("known", [True, False])
def test_blocks_of_pixels(keras: Any, parity: Any, dtype: str, known: bool) -> None:
    import tensorflow as tf

    shape = (4, 6, 8) if known else (None, None, 8)
    model = applied(
        keras, lambda x: [tf.nn.depth_to_space(x, 2), tf.nn.space_to_depth(x, 2)], shape, dtype
    )
    parity(model, [[np.arange(2 * 4 * 6 * 8).reshape(2, 4, 6, 8).astype(dtype)]])


def test_large_whole_numbers_are_told_apart(keras: Any) -> None:
    import onnx_ir as ir
    import onnxruntime
    import tensorflow as tf

    from converter.export.export import export

    exported = export(applied(keras, lambda x: list(tf.math.top_k(x, 2)), (4,)))
    session = onnxruntime.InferenceSession(ir.to_proto(exported).SerializeToString())
    large = np.array([[2**30, 2**30 + 1, 2**30 + 2, 5]], np.int32)
    values, places = session.run(None, {session.get_inputs()[0].name: large})
    assert values.tolist() == [[2**30 + 2, 2**30 + 1]]
    assert places.tolist() == [[2, 1]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16"])
def test_largest_values(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    model = applied(keras, lambda x: list(tf.math.top_k(x, 2)), (4,), dtype)
    parity(model, [[np.array([[3, 1, 3, 2], [0, 0, 0, 7]], dtype)]])
