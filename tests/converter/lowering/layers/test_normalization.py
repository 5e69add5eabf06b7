"""Normalization layers become the operator that ONNX has for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def features(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(1.0, 2.0, shape).astype(np.float32)


def batches(*shape: int) -> list[list[Any]]:
    return [[features(1, *shape)], [features(3, *shape)]]


@pytest.mark.parametrize("shape", [(6, 8), (None, 8)])
@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}]
)
def test_layer_normalization(keras: Any, parity: Any, shape: Any, options: Any) -> None:
    tensor = keras.Input(shape)
    layer = keras.layers.LayerNormalization(epsilon=1e-6, **options)
    operators = parity(keras.Model(tensor, layer(tensor)), batches(6, 8))
    assert operators == {"LayerNormalization": 1}


@pytest.mark.parametrize(("axis", "transposed"), [((1, 2), 0), ((2, 3), 0), (1, 2), ((1, 3), 2)])
def test_axes_of_layer_normalization(keras: Any, parity: Any, axis: Any, transposed: int) -> None:
    shape = (4, 5, 6)[: 2 if axis == (1, 2) else 3]
    tensor = keras.Input(shape)
    model = keras.Model(tensor, keras.layers.LayerNormalization(axis=axis)(tensor))
    operators = parity(model, batches(*shape))
    assert operators["LayerNormalization"] == 1
    assert operators.total() == 1 + transposed


def test_layer_normalization_of_old_opsets(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4, 8))
    model = keras.Model(tensor, keras.layers.LayerNormalization()(tensor))
    operators = parity(model, batches(4, 8), opset=16)
    assert "LayerNormalization" not in operators
    assert operators.total() == 9


def test_half_precision(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4, 8))
    layers = keras.layers
    outputs = [
        layers.LayerNormalization(dtype="mixed_float16")(tensor),
        layers.RMSNormalization(dtype="mixed_float16")(tensor),
        layers.GroupNormalization(groups=2, dtype="mixed_float16")(tensor),
    ]
    operators = parity(keras.Model(tensor, outputs), batches(4, 8), tolerance=2e-3)
    assert operators["LayerNormalization"] == operators["InstanceNormalization"] == 1


@pytest.mark.filterwarnings("ignore:.*rms_scaling:UserWarning")
def test_rms_scaling_is_not_layer_normalization(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4, 8))
    layer = keras.layers.LayerNormalization(rms_scaling=True)
    operators = parity(keras.Model(tensor, layer(tensor)), batches(4, 8))
    assert "LayerNormalization" not in operators


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_rms_normalization(keras: Any, parity: Any, axis: Any) -> None:
    tensor = keras.Input((4, 8))
    model = keras.Model(tensor, keras.layers.RMSNormalization(axis=axis)(tensor))
    operators = parity(model, batches(4, 8))
    assert operators == {
        "Pow": 1, "ReduceMean": 1, "Add": 1, "Sqrt": 1, "Div": 1, "Mul": 1
    }  # fmt: skip


@pytest.mark.parametrize("groups", [1, 4, -1])
@pytest.mark.parametrize("channels_first", [False, True])
def test_group_normalization(keras: Any, parity: Any, groups: int, channels_first: bool) -> None:
    shape = (8, 5, 6) if channels_first else (5, 6, 8)
    tensor = keras.Input(shape)
    layer = keras.layers.GroupNormalization(groups, axis=1 if channels_first else -1)
    operators = parity(keras.Model(tensor, layer(tensor)), batches(*shape))
    assert operators["InstanceNormalization"] == 1
    assert operators["Transpose"] == (0 if channels_first else 2)
    assert operators.total() - operators["Transpose"] == (1 if groups == -1 else 4)


def test_group_normalization_of_dynamic_size(keras: Any, parity: Any) -> None:
    tensor = keras.Input((None, None, 8))
    model = keras.Model(tensor, keras.layers.GroupNormalization(4)(tensor))
    operators = parity(model, [*batches(5, 6, 8), *batches(3, 2, 8)])
    assert operators["InstanceNormalization"] == 1


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)])
def test_unit_normalization(keras: Any, parity: Any, axis: Any) -> None:
    tensor = keras.Input((4, 8))
    model = keras.Model(tensor, keras.layers.UnitNormalization(axis=axis)(tensor))
    zeros = np.zeros((2, 4, 8), np.float32)
    operators = parity(model, [*batches(4, 8), [zeros], [zeros + 1e-20]])
    assert operators == {"ReduceL2": 1, "Max": 1, "Div": 1}
