"""Where chooses; it does not multiply."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_infinity_is_not_multiplied(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4,))
    positive = keras.ops.where(tensor > 0, tensor, 1.0)
    chosen = keras.ops.where(tensor > 0, keras.ops.log(positive), 1.0 / (1.0 + tensor**2))
    model = keras.Model(tensor, keras.ops.where(tensor > -1, chosen, 7.0))
    x = np.array([[0.0, -1.0, 2.0, 3.4e38]], np.float32)
    operators = parity(model, [[x]])
    assert operators["Where"] == 3


def test_a_condition_for_each_row(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    class Rows(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.raw_ops.Select(condition=x[:, 0, 0] > 0, x=x, y=-x)

    tensor = keras.Input((3, 2))
    x = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)
    assert parity(keras.Model(tensor, Rows()(tensor)), [[x]])["Where"] == 1
