"""Attention: six MatMuls, one Softmax, one Where for all masks, and no shape arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

SHAPE_ARITHMETIC = {"Shape", "Gather", "Slice", "Concat", "Expand", "Cast", "Einsum", "Tile"}
# The scale of the queries is in their weights.
PLAIN = {"MatMul": 6, "Reshape": 4, "Add": 4, "Transpose": 4, "Softmax": 1}


def features(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("steps", [6, None])
def test_multi_head_attention(keras: Any, parity: Any, steps: int | None) -> None:
    tensor = keras.Input((steps, 8))
    model = keras.Model(tensor, keras.layers.MultiHeadAttention(2, 4)(tensor, tensor))
    assert parity(model, [[features(1, 6, 8)], [features(3, 6, 8)]]) == PLAIN


def test_cross_attention_of_other_sizes(keras: Any, parity: Any) -> None:
    query, value = keras.Input((6, 8)), keras.Input((5, 7))
    layer = keras.layers.MultiHeadAttention(2, 4, value_dim=3, output_shape=5)
    model = keras.Model([query, value], layer(query, value))
    assert parity(model, [[features(3, 6, 8), features(3, 5, 7)]]) == PLAIN


@pytest.mark.parametrize("options", [{}, {"sliding_window": 2}, {"dropout": 0.3}])
def test_causal_masks_are_constants(keras: Any, parity: Any, options: Any) -> None:
    tensor = keras.Input((6, 8))
    layer = keras.layers.MultiHeadAttention(2, 4, **options)
    model = keras.Model(tensor, layer(tensor, tensor, use_causal_mask=True))
    operators = parity(model, [[features(3, 6, 8)]])
    # Keras zeroes what is masked where it computes scores for a dropout.
    assert operators == {**PLAIN, "Where": 2 if "dropout" in options else 1}


def test_causal_mask_of_dynamic_length(keras: Any, parity: Any) -> None:
    tensor = keras.Input((None, 8))
    layer = keras.layers.MultiHeadAttention(2, 4)
    model = keras.Model(tensor, layer(tensor, tensor, use_causal_mask=True))
    operators = parity(model, [[features(3, 6, 8)], [features(1, 2, 8)]])
    assert operators["Where"] == 1
    assert "Expand" not in operators


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scores", [False, True])
def test_padding_masks(keras: Any, parity: Any, causal: bool, scores: bool) -> None:
    ids = keras.Input((6,), dtype="int32")
    embedded = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    layer = keras.layers.MultiHeadAttention(2, 4)
    output = layer(embedded, embedded, use_causal_mask=causal, return_attention_scores=scores)
    some = np.random.default_rng(0).integers(0, 3, (4, 6)).astype(np.int32)
    some[0] = 0
    operators = parity(keras.Model(ids, output), [[some], [some[1:2]]])
    assert operators["Where"] == (2 if scores else 1)
    assert operators["Softmax"] == 1
    assert operators["MatMul"] == 6
    assert not {"Shape", "Expand", "Einsum"} & operators.keys()


def test_explicit_mask(keras: Any, parity: Any) -> None:
    tensor, mask = keras.Input((6, 8)), keras.Input((6, 6), dtype="bool")
    layer = keras.layers.MultiHeadAttention(2, 4)
    model = keras.Model([tensor, mask], layer(tensor, tensor, attention_mask=mask))
    chosen = np.random.default_rng(0).random((3, 6, 6)) < 0.5
    operators = parity(model, [[features(3, 6, 8), chosen]])
    assert operators == {**PLAIN, "Where": 1, "Unsqueeze": 1}


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
def test_attention_over_several_axes(keras: Any, parity: Any, axes: Any) -> None:
    tensor = keras.Input((3, 4, 8))
    layer = keras.layers.MultiHeadAttention(2, 4, attention_axes=axes)
    operators = parity(keras.Model(tensor, layer(tensor, tensor)), [[features(2, 3, 4, 8)]])
    assert operators["MatMul"] == 6
    assert not SHAPE_ARITHMETIC & operators.keys()
    assert not {"Log", "IsNaN", "IsInf"} & operators.keys()


@pytest.mark.parametrize("steps", [6, None])
def test_grouped_queries(keras: Any, parity: Any, steps: int | None) -> None:
    tensor = keras.Input((steps, 8))
    layer = keras.layers.GroupQueryAttention(4, 4, 2)
    operators = parity(keras.Model(tensor, layer(tensor, tensor)), [[features(3, 6, 8)]])
    assert operators == {**PLAIN, "Gather": 2}


@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
@pytest.mark.parametrize("causal", [False, True])
def test_single_head_attention(keras: Any, parity: Any, name: str, causal: bool) -> None:
    ids = keras.Input((6,), dtype="int32")
    embedded = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    layer = getattr(keras.layers, name)(use_scale=True)
    model = keras.Model(ids, layer([embedded, embedded], use_causal_mask=causal))
    some = np.random.default_rng(0).integers(0, 3, (4, 6)).astype(np.int32)
    some[:, 0] = 1
    operators = parity(model, [[some]])
    assert operators["Softmax"] == 1
    assert not {"Shape", "Expand"} & operators.keys()


def test_softmax_over_axes_survives_large_values(keras: Any, parity: Any) -> None:
    tensor = keras.Input((3, 4))
    mask = keras.Input((3, 4), dtype="bool")
    outputs = [
        keras.layers.Softmax(axis=(1, 2))(tensor),
        keras.layers.Softmax(axis=(1, 2))(tensor, mask=mask),
        keras.layers.Softmax(axis=1)(tensor),
    ]
    chosen = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    model = keras.Model([tensor, mask], outputs)
    parity(model, [[features(2, 3, 4) * 1000, chosen]])


def test_half_precision(keras: Any, parity: Any) -> None:
    tensor = keras.Input((6, 8))
    layer = keras.layers.MultiHeadAttention(2, 4, dtype="mixed_float16")
    model = keras.Model(tensor, layer(tensor, tensor, use_causal_mask=True))
    operators = parity(model, [[features(3, 6, 8)]], tolerance=2e-3)
    assert operators["Where"] == 1
    assert not {"Shape", "Expand", "Einsum"} & operators.keys()
