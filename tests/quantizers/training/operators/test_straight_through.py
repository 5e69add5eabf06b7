"""Q/DQ as fake quantization: gradients pass where codes can follow, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.training.graph import TrainableGraph
from quantizers.training.write import with_values
from runtimes.engines.ort import OrtRuntime

Array = np.ndarray[Any, np.dtype[Any]]

BLOCKED = np.array([[0.02, 0.2], [0.05, 0.01], [0.3, 0.03]], np.float32)
GRIDS = {
    "per tensor": (np.float32(0.02), np.uint8(100), {}),
    "per channel": (np.array([0.02, 0.1, 0.01], np.float32), np.zeros(3, np.int8), {"axis": 0}),
    "asymmetric": (np.array([0.02, 0.05], np.float32), np.array([9, 3], np.uint8), {"axis": -1}),
    "blocked": (BLOCKED, np.zeros((3, 2), np.int8), {"axis": 1, "block_size": 2}),
}


def expanded(array: Array, shape: tuple[int, ...], attributes: dict[str, int]) -> Array:
    """A scale or zero point for every element."""
    if "block_size" in attributes:
        return np.repeat(array, attributes["block_size"], 1)
    if array.ndim and attributes.get("axis", 0) == 0:
        array = array[:, None]
    return np.broadcast_to(array, shape)


def round_trip(scale: Any, zero: Any, attributes: dict[str, int], columns: int) -> ir.Model:
    """X plus a bias, on the grid."""
    values = [ir.tensor(array, name=name) for name, array in (("scale", scale), ("zero", zero))]
    values.append(ir.tensor(np.zeros((3, columns), np.float32), name="bias"))
    scale_value, zero_value, bias = (
        ir.Value(name=t.name, type=ir.TensorType(t.dtype), shape=t.shape, const_value=t)
        for t in values
    )
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((3, columns)))
    given = ir.convenience.convert_attributes(attributes)
    add = ir.Node("", "Add", [x, bias], outputs=[ir.Value(name="sum")])
    codes = ir.Node("", "QuantizeLinear", [add.outputs[0], scale_value, zero_value], given)
    wide = ir.Node("", "DequantizeLinear", [codes.outputs[0], scale_value, zero_value], given)
    wide.outputs[0].name, codes.outputs[0].name = "y", "codes"
    constants = [scale_value, zero_value, bias]
    graph = ir.Graph(
        [x], wide.outputs, nodes=[add, codes, wide], initializers=constants,
        opset_imports={"": 21}, name="grid",
    )  # fmt: skip
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("name", GRIDS)
def test_gradients_are_1_inside_of_the_grid_and_0_outside(name: str) -> None:
    import tensorflow as tf

    scale, zero, attributes = GRIDS[name]
    columns = 4 if name == "blocked" else 2
    model = round_trip(scale, zero, attributes, columns)
    x = np.random.default_rng(0).normal(size=(3, columns), scale=8).astype(np.float32)
    graph = TrainableGraph(model)
    feed = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(feed)
        y = graph.run(graph.initial(), {"x": feed})["y"]
        loss = tf.reduce_sum(y * np.arange(1, 1 + x.size).reshape(x.shape))
    limits = np.iinfo(np.asarray(zero).dtype)
    scales, zeros = (
        expanded(np.asarray(array), x.shape, attributes).astype(np.float64)
        for array in (scale, zero)
    )
    codes = np.rint(x / scales) + zeros
    inside = (codes >= limits.min) & (codes <= limits.max)
    assert inside.any()
    assert not inside.all()
    expected = (np.clip(codes, limits.min, limits.max) - zeros) * scales
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-7)
    gradient = np.asarray(tape.gradient(loss, feed))
    steps = np.arange(1, 1 + x.size).reshape(x.shape)
    np.testing.assert_allclose(gradient, np.where(inside, steps, 0), rtol=1e-6)
    with OrtRuntime(model, threads=1, optimization="disabled") as runtime:
        np.testing.assert_allclose(y, runtime.run({"x": x})["y"], rtol=1e-6, atol=1e-7)


def latent(codes: Array, scale: Any, zero: Any, attributes: dict[str, int]) -> ir.Model:
    """A product with a weight of codes."""
    arrays = {"codes": codes, "scale": np.asarray(scale), "zero": np.asarray(zero)}
    values = {}
    for name, array in arrays.items():
        tensor = ir.tensor(array, name=name)
        values[name] = ir.Value(
            name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor
        )
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((2, 3)))
    given = ir.convenience.convert_attributes(attributes)
    wide = ir.Node("", "DequantizeLinear", list(values.values()), given)
    product = ir.Node("", "MatMul", [x, wide.outputs[0]], outputs=[ir.Value(name="y")])
    graph = ir.Graph(
        [x], product.outputs, nodes=[wide, product], initializers=list(values.values()),
        opset_imports={"": 21}, name="latent",
    )  # fmt: skip
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("name", GRIDS)
def test_latent_weights_train_through_their_codes(name: str) -> None:
    import tensorflow as tf

    scale, zero, attributes = GRIDS[name]
    columns = 4 if name == "blocked" else 2
    limits = np.iinfo(np.asarray(zero).dtype)
    rng = np.random.default_rng(1)
    codes = rng.integers(limits.min, limits.max + 1, (3, columns)).astype(limits.dtype)
    model = latent(codes, scale, zero, attributes)
    graph = TrainableGraph(model)
    assert list(graph.parameters) == ["codes"]
    stored = with_values(model, graph.initial()).graph.initializers["codes"].const_value
    assert stored is not None
    np.testing.assert_array_equal(stored.numpy(), codes)
    floats = graph.initial()["codes"] + np.float32(0.2) * np.asarray(scale).max()
    scales = expanded(np.asarray(scale), codes.shape, attributes)
    zeros = expanded(np.asarray(zero), codes.shape, attributes).astype(np.float32)
    wanted = np.rint(floats / scales) + zeros
    variable = tf.constant(floats)
    x = rng.normal(size=(2, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = tf.reduce_sum(graph.run({"codes": variable}, {"x": x})["y"])
    inside = (wanted >= limits.min) & (wanted <= limits.max)
    gradient = np.asarray(tape.gradient(loss, variable))
    expected = np.where(inside, x.sum(0)[:, None], 0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
