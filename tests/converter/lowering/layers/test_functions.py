"""Contractions and look-ups without reshapes or index arithmetic around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def features(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(8,), (6, 8), (None, 8), (None, None, 8)])
def test_dense_of_any_rank_is_a_matmul(keras: Any, parity: Any, shape: Any) -> None:
    tensor = keras.Input(shape)
    model = keras.Model(tensor, keras.layers.Dense(5)(tensor))
    sizes = [5 if dim is None else dim for dim in shape]
    operators = parity(model, [[features(1, *sizes)], [features(3, *sizes)]])
    assert operators in ({"MatMul": 1, "Add": 1}, {"Gemm": 1})


def test_other_contractions_stay(keras: Any, parity: Any) -> None:
    tensor = keras.Input((3, 4))
    products = [
        keras.ops.tensordot(tensor, keras.ops.ones((4, 2, 2)), axes=1),
        keras.ops.tensordot(tensor, keras.ops.ones((3, 4, 2)), axes=2),
        keras.ops.matmul(tensor, keras.ops.ones((4,))),
    ]
    parity(keras.Model(tensor, products), [[features(2, 3, 4)]])


def test_embedding_is_a_gather(keras: Any, parity: Any) -> None:
    tensor = keras.Input((6,), dtype="int32")
    model = keras.Model(tensor, keras.layers.Embedding(9, 4)(tensor))
    ids = np.random.default_rng(0).integers(-9, 9, (3, 6)).astype(np.int32)
    assert parity(model, [[ids], [ids[:1]]]) == {"Gather": 1}


def test_take_along_axes_and_from_constants(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4, 5))
    ids = keras.Input((2,), dtype="int32")
    outputs = [
        keras.ops.take(tensor, [0, -1], axis=1),
        keras.ops.take(keras.ops.arange(7), ids, axis=0),
        keras.ops.take(keras.ops.arange(7), ids),
    ]
    feed = [features(2, 4, 5), np.array([[0, -2], [6, 3]], np.int32)]
    operators = parity(keras.Model([tensor, ids], outputs), [feed])
    assert operators["Gather"] >= 3


def test_repeat_vector(keras: Any, parity: Any) -> None:
    tensor = keras.Input((6,))
    model = keras.Model(tensor, keras.layers.RepeatVector(4)(tensor))
    assert parity(model, [[features(3, 6)]]) == {"Unsqueeze": 1, "Tile": 1}


def test_repeating_along_a_known_axis(keras: Any, parity: Any) -> None:
    tensor = keras.Input((None, 4))
    outputs = [keras.ops.repeat(tensor, 3, axis=-1), keras.ops.repeat(tensor, 2, axis=1)]
    operators = parity(keras.Model(tensor, outputs[0]), [[features(3, 5, 4)]])
    assert operators == {"Gather": 1}
    parity(keras.Model(tensor, outputs), [[features(3, 5, 4)]])


def test_axes_of_tensordot(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    class Products(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            square, cube = tf.ones((3, 3)), tf.ones((3, 3, 2))
            return [
                tf.tensordot(x, tf.reshape(tf.range(9.0), (3, 3)), axes=[[2], [0]]),
                tf.tensordot(x, square, axes=np.array([[2], [1]])),
                tf.tensordot(x, cube, axes=[[1, 2], [0, 1]]),
                tf.tensordot(x, square, axes=2),
            ]

        def compute_output_spec(self, x: Any) -> Any:
            shapes = [(None, 3, 3), (None, 3, 3), (None, 2), (None,)]
            return [keras.KerasTensor(shape, dtype="float32") for shape in shapes]

    tensor = keras.Input((3, 3))
    parity(keras.Model(tensor, Products()(tensor)), [[features(2, 3, 3)]])
