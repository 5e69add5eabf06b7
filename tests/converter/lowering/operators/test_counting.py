"""Bins of a histogram and numbers that occur."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("dtype", ["float32", "int32", "float64"])
def test_a_boundary_belongs_to_the_bin_above(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    tensor = keras.Input((6,), dtype=dtype)
    layer = keras.layers.Lambda(
        lambda x: tf.raw_ops.Bucketize(input=tf.cast(x, dtype), boundaries=[-1.0, 0.0, 2.5]),
        dtype=dtype,
    )
    x = np.array([[-2, -1, 0, 2, 3, 7]], dtype)
    parity(keras.Model(tensor, layer(tensor)), [[x]])


def test_no_number_is_in_the_last_bin(keras: Any, parity: Any) -> None:
    tensor = keras.Input((2,))
    layer = keras.layers.Discretization(bin_boundaries=[0.0, 1.0])
    parity(keras.Model(tensor, layer(tensor)), [[np.array([[np.nan, np.inf]], np.float32)]])


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("shape", [(9,), (3, 4)])
@pytest.mark.parametrize("how", ["counted", "weighted", "binary"])
def test_counting(keras: Any, parity: Any, how: str, shape: tuple[int, ...], opset: int) -> None:
    import tensorflow as tf

    def count(values: Any, weights: Any) -> Any:
        return tf.raw_ops.DenseBincount(
            input=tf.cast(values, tf.int32),
            size=5,
            weights=weights if how == "weighted" else tf.zeros((0,)),
            binary_output=how == "binary",
        )

    tensors = [keras.Input(batch_shape=shape) for _ in range(2)]
    layer = keras.layers.Lambda(lambda xs: count(*xs))
    rng = np.random.default_rng(0)
    values = rng.integers(0, 7, shape).astype(np.float32)  # 5 and 6 are not counted
    weights = rng.normal(size=shape).astype(np.float32)
    operators = parity(keras.Model(tensors, layer(tensors)), [[values, weights]], opset=opset)
    assert operators["ScatterElements"] == (opset >= 16)


def test_a_known_number_of_bins_leaves_no_arithmetic(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4,), dtype="int32")
    layer = keras.layers.CategoryEncoding(num_tokens=6, output_mode="count")
    operators = parity(keras.Model(tensor, layer(tensor)), [[np.array([[0, 5, 5, 1]], np.int32)]])
    assert operators["ReduceMax"] == 0


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_equal_parts_of_a_range(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    class Counted(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            x = tf.cast(x, dtype)
            limits = tf.stack([x[0, 0], x[0, 1]])
            return [
                tf.histogram_fixed_width(x, limits, nbins=7),
                tf.histogram_fixed_width(x, limits, nbins=tf.shape(x)[1], dtype=tf.int64),
            ]

    tensor = keras.Input((None,))
    values = np.random.default_rng(0).normal(size=(3, 40)) * 4
    values[0, :2] = -5, 6
    whole = np.round(values).astype(np.float32)
    parity(keras.Model(tensor, Counted()(tensor)), [[whole], [whole[:1, :5]]])
