"""Opset conversion: same results, weights shared, metadata kept, refusals named."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from runtimes.errors import ModelError
from runtimes.onnx_graph.opset import convert_opset, newest_opset, oldest_ir_version

WEIGHT = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)


def build(opset: int) -> ir.Model:
    x = ir.val("x", ir.DataType.FLOAT, ["batch", 64])
    weight = ir.Value(name="w", const_value=ir.tensor(WEIGHT))
    axes = ir.Value(name="axes", const_value=ir.tensor(np.array([1], np.int64)))
    product = ir.node("MatMul", [x, weight], name="product")
    product.metadata_props["kilnx.layer"] = "dense"
    product.outputs[0].name = "product"
    total = ir.node("ReduceSum", [product.outputs[0], axes], name="total")
    total.outputs[0].name = "y"
    total.outputs[0].dtype = ir.DataType.FLOAT
    graph = ir.Graph(
        [x],
        [total.outputs[0]],
        nodes=[product, total],
        initializers=[weight, axes],
        opset_imports={"": opset},
        name="small",
    )
    return ir.Model(graph, ir_version=oldest_ir_version(opset))


def run(model: ir.Model) -> np.ndarray:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    return np.asarray(session.run(None, {"x": np.ones((2, 64), np.float32)})[0])


@pytest.mark.parametrize("target", [14, 17, 19, 20, 21])
def test_the_converted_model_computes_the_same(target: int) -> None:
    model = build(18 if target != 14 else 13)
    expected = run(model)
    converted = convert_opset(model, target)
    assert converted.opset_imports[""] == target
    assert converted.ir_version == oldest_ir_version(target)
    np.testing.assert_array_equal(run(converted), expected)


def test_large_weights_are_shared_and_the_source_is_whole() -> None:
    model = build(18)
    tensor = model.graph.initializers["w"].const_value
    converted = convert_opset(model, 20)
    assert converted.graph.initializers["w"].const_value is tensor
    assert model.graph.initializers["w"].const_value is tensor
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert [value.name for value in converted.graph.inputs] == ["x"]


def test_metadata_survive() -> None:
    converted = convert_opset(build(18), 20)
    product = next(node for node in converted.graph if node.op_type == "MatMul")
    assert product.metadata_props["kilnx.layer"] == "dense"
    assert product.name == "product"


def test_the_same_opset_is_the_same_model() -> None:
    model = build(18)
    assert convert_opset(model, 18) is model


def test_what_onnx_cannot_convert_is_named() -> None:
    model = build(18)
    with pytest.raises(ModelError, match=f"from opset 18 to {newest_opset() + 1}"):
        convert_opset(model, newest_opset() + 1)
    assert "w" in model.graph.initializers
