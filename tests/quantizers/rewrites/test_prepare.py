"""What a model must be before Q/DQ can be placed on it."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.rewrites.prepare import prepare
from runtimes import ModelError
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Run = Callable[..., Array]

W = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)


def test_an_old_opset_is_converted(graph: Graph, run: Run, images: Array) -> None:
    model = graph(
        """g (float[n, 3, 12, 12] x, float[4, 3, 3, 3] w) => (float[n, 4, 10] y)
        { c = Conv (x, w)
          s = Softmax <axis = 1> (c)
          y = ReduceSum <axes = [3], keepdims = 0> (s) }""",
        {"w": W},
        opset=11,
    )
    before = run(model, x=images)
    found = prepare(model)
    assert found.graph.opset_imports[""] == 13
    assert model.graph.opset_imports[""] == 11
    # Softmax over everything behind an axis became another one in opset 13.
    np.testing.assert_allclose(run(found, x=images), before, rtol=1e-5)


def test_a_recent_opset_stays(graph: Graph) -> None:
    model = graph("g (float[n] x) => (float[n] y) { y = Neg (x) }", opset=21)
    assert prepare(model).graph.opset_imports[""] == 21


def test_large_weights_of_an_old_model_are_shared(graph: Graph) -> None:
    weight = np.zeros((64, 64), np.float32)
    model = graph(
        "g (float[n, 64] x, float[64, 64] w) => (float[n, 64] y) { y = MatMul (x, w) }",
        {"w": weight},
        opset=9,
    )
    found = prepare(model)
    assert found.graph.opset_imports[""] == 13
    tensor = model.graph.initializers["w"].const_value
    assert found.graph.initializers["w"].const_value is tensor


def test_what_cannot_be_converted_says_so(graph: Graph) -> None:
    # ONNX has no adapter for a normalization by the batch, as opset 6 could be told to do.
    model = graph(
        "g (float[1, 3] x, float[3] p) => (float[1, 3] y) "
        "{ y = BatchNormalization <is_test = 0> (x, p, p, p, p) }",
        opset=6,
    )
    with pytest.raises(ModelError, match=r"opset 6 is too old.*opset 13.*export it anew"):
        prepare(model)


def test_constants_are_initializers_that_no_caller_replaces(graph: Graph) -> None:
    model = graph(
        """g (float[n, 2] x, float[2, 2] v) => (float[n, 2] y)
        { w = Constant <value = float[2, 2] {1, 2, 3, 4}> ()
          a = MatMul (x, w) y = MatMul (a, v) }""",
        {"v": np.eye(2, dtype=np.float32)},
    )
    model.graph.inputs.append(model.graph.initializers["v"])
    found = prepare(model)
    assert [node.op_type for node in found.graph] == ["MatMul", "MatMul"]
    assert set(found.graph.initializers) == {"v", "w"}
    assert [value.name for value in found.graph.inputs] == ["x"]
    assert len(model.graph.inputs) == 2


@pytest.mark.parametrize(
    "body",
    [
        "q = QuantizeLinear (x, s, z)\n y = DequantizeLinear (q, s, z)",
        "q, a, b = DynamicQuantizeLinear (x)\n y = DequantizeLinear (q, a, b)",
    ],
)
def test_a_quantized_model_is_refused(graph: Graph, body: str) -> None:
    model = graph(
        f"old (float[n] x) => (float[n] y) <float s = {{1}}, uint8 z = {{0}}> {{ {body} }}"
    )
    with pytest.raises(ModelError, match=r"old is quantized already.*QuantizeLinear.*float model"):
        prepare(model)


@pytest.mark.parametrize("op_type", ["MatMulNBits", "DynamicQuantizeLSTM"])
def test_quantized_operators_of_onnx_runtime_are_refused_too(graph: Graph, op_type: str) -> None:
    model = graph("old (float[n] x) => (float[n] y) { [one] y = Neg (x) }")
    model.graph.node(0).op_type = op_type
    with pytest.raises(ModelError, match=f"old is quantized already: node 'one' is a {op_type}; q"):
        prepare(model)


def test_the_model_stays_as_it_is_and_the_copy_is_named(graph: Graph) -> None:
    model = graph("g (float[n] x) => (float[n] y) { a = Neg (x)\n y = Exp (a) }")
    for node in model.graph:
        node.name = "same"
    found = prepare(model)
    assert len({node.name for node in found.graph}) == 2
    assert [node.name for node in model.graph] == ["same", "same"]
    assert found.graph.node(0).outputs[0].dtype == ir.DataType.FLOAT
