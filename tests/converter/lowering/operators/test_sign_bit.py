"""Argmax of floats: -0 counts as less than 0, and nothing is paid where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_negative_zeros_are_less(keras: Any, parity: Any, name: str) -> None:
    tensor = keras.Input((4,))
    layer = keras.layers.Lambda(lambda x: getattr(keras.ops, name)(x, axis=-1))
    x = np.array([[-0.0, 0.0, -0.0, 0.0], [0.0, -0.0, 0.0, -0.0], [1, 3, 3, -2]], np.float32)
    parity(keras.Model(tensor, layer(tensor)), [[x]])


def test_a_class_map_is_one_operator(keras: Any, parity: Any) -> None:
    tensor = keras.Input((6, 5, 3))
    scores = keras.layers.Conv2D(4, 1)(tensor)
    layer = keras.layers.Lambda(lambda x: keras.ops.argmax(x, axis=-1))
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    operators = parity(keras.Model(tensor, layer(scores)), [[x]])
    assert operators["ArgMax"] == 1
    assert not {"Where", "Reciprocal"} & set(operators)
