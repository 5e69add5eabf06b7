"""Rows times weights plus bias is what ONNX Runtime computes, for every kind of layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from pruning_checks import run_model
from random_graphs import Builder

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.regression import LinearLayer, linear_layers

Array = np.ndarray[Any, np.dtype[Any]]


def layer_of(model: ir.Model, index: int = 0) -> LinearLayer:
    InferShapes()(model)
    return next(layers for node in model.graph if (layers := linear_layers(node)))[index]


def check_layer(model: ir.Model, feed: dict[str, Array]) -> LinearLayer:
    layer = layer_of(model)
    (result,) = run_model(model, feed)
    data = feed[layer.source]
    count = layer.count_rows(data)
    chosen = np.sort(np.random.default_rng(0).choice(count, max(1, count // 2), replace=False))
    rows, targets = layer.rows(data, chosen), layer.targets(result, chosen)
    fitted = rows @ layer.weights() + layer.bias()[:, None]
    np.testing.assert_allclose(fitted, targets, rtol=1e-4, atol=1e-5)
    return layer


def check_write(model: ir.Model, feed: dict[str, Array]) -> None:
    """Twice the weights and another bias give twice the result, shifted."""
    layer = check_layer(model, feed)
    (before,) = run_model(model, feed)
    layer.write(2 * layer.weights(), 2 * layer.bias() + 1.0 if layer.takes_bias else None)
    (after,) = run_model(model, feed)
    shift = 1.0 if layer.takes_bias else 0.0
    np.testing.assert_allclose(after, 2 * before + shift, rtol=1e-4, atol=1e-4)


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 2, 0, 1]},
        {"strides": [2, 3], "pads": [1, 1, 1, 1]},
        {"dilations": [2, 1]},
        {"group": 2},
        {"group": 4, "pads": [0, 1, 2, 1], "strides": [2, 1]},
    ],
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_convolution(attributes: dict[str, Any], has_bias: bool) -> None:
    build = Builder(0)
    x = build.input(["N", 4, 7, 8])
    weight = build.weight(8, 4 // attributes.get("group", 1), 3, 2)
    bias = [build.weight(8)] if has_bias else []
    model = build.model(build.op("Conv", x, weight, *bias, **attributes))
    check_write(model, {"x": normal(3, 4, 7, 8)})


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_of_other_ranks(rank: int) -> None:
    build = Builder(0)
    x = build.input(["N", 2, *[5] * rank])
    weight = build.weight(3, 2, *[3] * rank)
    model = build.model(build.op("Conv", x, weight, pads=[1] * 2 * rank))
    check_write(model, {"x": normal(2, 2, *[5] * rank)})


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2]},
        {"strides": [2, 3], "pads": [1, 0, 1, 1], "output_padding": [1, 0]},
        {"dilations": [1, 2], "strides": [2, 1]},
        {"group": 2, "strides": [2, 2]},
    ],
)
def test_transposed_convolution(attributes: dict[str, Any]) -> None:
    build = Builder(0)
    x = build.input(["N", 4, 5, 4])
    groups = attributes.get("group", 1)
    weight, bias = build.weight(4, 6 // groups, 3, 3), build.weight(6)
    model = build.model(build.op("ConvTranspose", x, weight, bias, **attributes))
    check_write(model, {"x": normal(2, 4, 5, 4)})


def test_dense_with_its_bias_behind() -> None:
    build = Builder(0)
    x = build.input(["N", 5, 4])
    product = build.op("MatMul", x, build.weight(4, 3))
    check_write(build.model(build.op("Add", product, build.weight(3))), {"x": normal(2, 5, 4)})


def test_dense_without_a_bias() -> None:
    build = Builder(0)
    x = build.input(["N", 4])
    check_write(build.model(build.op("MatMul", x, build.weight(4, 3))), {"x": normal(6, 4)})


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("has_bias", [True, False])
def test_gemm(transposed: int, has_bias: bool) -> None:
    build = Builder(0)
    x = build.input(["N", 4])
    weight = build.weight(*((3, 4) if transposed else (4, 3)))
    bias = [build.weight(3)] if has_bias else []
    model = build.model(build.op("Gemm", x, weight, *bias, transB=transposed))
    check_write(model, {"x": normal(6, 4)})


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_maps_into_the_gates(kind: str) -> None:
    gates = {"LSTM": 4, "GRU": 3}[kind]
    build = Builder(0)
    x = build.input([5, "N", 3])
    weights = [build.weight(2, gates * 4, 3), build.weight(2, gates * 4, 4)]
    bias = build.weight(2, 2 * gates * 4)
    made = build.op(kind, x, *weights, bias, hidden_size=4, direction="bidirectional")
    model = build.model(made)
    data, states = normal(5, 2, 3), normal(5, 2, 2, 4)
    for index, (values, source) in enumerate(zip((data, states), ("x", "y0"), strict=True)):
        layer = layer_of(model, index)
        assert layer.source == source
        rows = layer.rows(values, np.array([0, 3, 7]))
        assert rows.shape == (2, 3, (3, 4)[index])
        # Row r is step r // samples of sample r % samples.
        expected = values[1, 1] if index == 0 else values[1, 1, 1]
        np.testing.assert_array_equal(rows[1, 1], expected)
        matrix = weights[index].const_value.numpy()
        np.testing.assert_allclose(layer.weights()[1], matrix[1].T)
        half = np.split(bias.const_value.numpy(), 2, axis=1)[index]
        np.testing.assert_allclose(layer.bias(), half)
        layer.write(layer.weights() + 1.0, layer.bias() - 1.0)
        np.testing.assert_allclose(weights[index].const_value.numpy(), matrix + 1.0, rtol=1e-6)
        changed = np.split(bias.const_value.numpy(), 2, axis=1)
        np.testing.assert_allclose(changed[index], half - 1.0, rtol=1e-6)


def test_what_cannot_be_refitted() -> None:
    build = Builder(0)
    x = build.input(["N", 4])
    shared = build.weight(4, 4)
    first = build.op("MatMul", x, shared)
    second = build.op("MatMul", first, shared)
    scaled = build.op("Gemm", second, build.weight(4, 4), alpha=0.5)
    product = build.op("MatMul", scaled, build.op("Transpose", scaled))
    model = build.model(product)
    assert all(linear_layers(node) == () for node in model.graph)
