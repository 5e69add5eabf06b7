"""TimeDistributed calls its layer once, not once a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def features(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("steps", [6, None])
def test_one_call_for_all_steps(keras: Any, parity: Any, steps: int | None) -> None:
    layers = keras.layers
    tensor = keras.Input((steps, 7, 5))
    inner = keras.Sequential([layers.Input((7, 5)), layers.Dense(3), layers.GRU(4)])
    outputs = [
        layers.TimeDistributed(layer)(tensor)
        for layer in (layers.LSTM(4, return_sequences=True), layers.Conv1D(4, 3), inner)
    ]
    model = keras.Model(tensor, outputs)
    operators = parity(model, [[features(1, 6, 7, 5)], [features(3, 6, 7, 5)]])
    assert operators["LSTM"] == operators["Conv"] == operators["GRU"] == 1
    assert "Loop" not in operators


@pytest.mark.parametrize("steps", [6, None])
def test_a_dense_layer_needs_no_telling_apart(keras: Any, parity: Any, steps: int | None) -> None:
    tensor = keras.Input((steps, 5))
    output = keras.layers.TimeDistributed(keras.layers.Dense(3))(tensor)
    assert parity(keras.Model(tensor, output), [[features(2, 6, 5)]]) == {"MatMul": 1, "Add": 1}


def test_dynamic_size_inside(keras: Any, parity: Any) -> None:
    tensor = keras.Input((None, None, 5))
    output = keras.layers.TimeDistributed(keras.layers.Conv1D(4, 3, padding="same"))(tensor)
    parity(keras.Model(tensor, output), [[features(2, 3, 7, 5)], [features(1, 4, 9, 5)]])


def test_masks_follow_their_steps(keras: Any, parity: Any) -> None:
    layers = keras.layers
    tensor = keras.Input((4, 6), dtype="int32")
    embedded = layers.TimeDistributed(layers.Embedding(9, 5, mask_zero=True))(tensor)
    inner = layers.TimeDistributed(layers.LSTM(4))
    mask = keras.ops.not_equal(tensor, 0)
    model = keras.Model(tensor, inner(embedded, mask=mask))
    ids = np.random.default_rng(0).integers(0, 3, (3, 4, 6)).astype(np.int32)
    operators = parity(model, [[ids], [ids[:1]]])
    assert operators["LSTM"] == 1


def test_a_layer_that_mixes_samples_is_called_step_by_step(keras: Any, parity: Any) -> None:
    class Centred(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x - keras.ops.mean(x, axis=0, keepdims=True)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    tensor = keras.Input((3, 5))
    model = keras.Model(tensor, keras.layers.TimeDistributed(Centred())(tensor))
    parity(model, [[features(4, 3, 5)]])
