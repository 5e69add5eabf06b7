"""Whole numbers of every type: shifts, padding, remainders, and what has no kernel for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32")


def applied(keras: Any, call: Callable[[Any], Any], dtype: str) -> Any:
    class Apply(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return call(x)

    tensor = keras.Input((3, 4), dtype=dtype)
    return keras.Model(tensor, Apply()(tensor))


def numbers(dtype: str) -> np.ndarray[Any, Any]:
    low = 0 if dtype.startswith("u") else -6
    return np.random.default_rng(0).integers(low, 7, (2, 3, 4)).astype(dtype)


@pytest.mark.parametrize("dtype", [*SIGNED, *UNSIGNED])
def test_shifts_keep_the_sign(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    def shifted(x: Any) -> Any:
        by = tf.cast(2, x.dtype)
        return [tf.bitwise.left_shift(x, by), tf.bitwise.right_shift(x, by)]

    extreme = np.iinfo(dtype)
    samples = numbers(dtype)
    samples[0, 0, :2] = extreme.min, extreme.max
    # Compared as float32: the extremes of 64 bits are compared by their upper bits.
    parity(applied(keras, shifted, dtype), [[samples]])


@pytest.mark.parametrize("dtype", [*SIGNED, *UNSIGNED])
def test_types_without_a_kernel_are_computed_in_wider_ones(
    keras: Any, parity: Any, dtype: str
) -> None:
    import tensorflow as tf

    def reduced(x: Any) -> Any:
        return [
            tf.reduce_sum(x, -1),
            tf.reduce_prod(x, 1),
            tf.reduce_max(x, -1),
            tf.reduce_min(x, 1),
            tf.cumsum(x, 1, exclusive=True, reverse=True),
            tf.argmax(x, -1),
            tf.maximum(x, tf.cast(2, x.dtype)),
            tf.clip_by_value(x, tf.cast(1, x.dtype), tf.cast(3, x.dtype)),
            tf.where(x > 2, x, x * x),
            tf.nn.relu(x),
            tf.pad(x, [[0, 0], [1, 2], [0, 1]], constant_values=tf.cast(3, x.dtype)),
        ]

    parity(applied(keras, reduced, dtype), [[numbers(dtype)]])


def test_what_wraps_around_still_does(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    model = applied(keras, lambda x: [tf.reduce_sum(x, -1), tf.cumsum(x, 2)], "int8")
    parity(model, [[np.full((2, 3, 4), 100, np.int8)]])


def test_a_widened_output_of_a_model_keeps_name_and_type(keras: Any) -> None:
    import onnx_ir as ir
    import tensorflow as tf

    from converter.export.export import export

    model = export(applied(keras, lambda x: tf.reduce_sum(x, -1), "uint8"))
    (output,) = model.graph.outputs
    assert output.dtype == ir.DataType.UINT8
    assert output.producer().op_type == "Cast"


@pytest.mark.parametrize("known", [True, False])
def test_padding_of_a_width_known_at_run_time(keras: Any, parity: Any, *, known: bool) -> None:
    import tensorflow as tf

    def padded(x: Any) -> Any:
        width = 2 if known else tf.shape(x)[0]
        return tf.pad(x, [[0, 0], [width, 0], [0, width]])

    parity(applied(keras, padded, "int32"), [[numbers("int32")], [numbers("int32")[:1]]])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_products_of_transposed_matrices(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    def products(x: Any) -> Any:
        x = tf.cast(x, "int32") if dtype == "uint8" else x
        plain = tf.transpose(x, [0, 2, 1])
        return [
            tf.matmul(x, x, transpose_b=True),
            tf.matmul(x, x, transpose_a=True),
            tf.matmul(x, plain),
            tf.matmul(x[0], x[0], transpose_b=True),
        ]

    parity(applied(keras, products, dtype), [[numbers(dtype)]])


def test_an_inverted_permutation(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def inverted(x: Any) -> Any:
        return tf.math.invert_permutation(tf.argsort(x[0, 0]))

    parity(applied(keras, inverted, "int32"), [[numbers("int32")]])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_bits_that_are_one(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    class Counted(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.raw_ops.PopulationCount(x=x)

    tensor = keras.Input((6,), dtype=dtype)
    limits = np.iinfo(dtype)
    x = np.array([[0, 1, 7, limits.max, limits.min, limits.max - 5]], dtype)
    parity(keras.Model(tensor, Counted()(tensor)), [[x]])
