"""Which operators make a graph a quantized one."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from runtimes.onnx_graph.quantized import first_quantized_node, is_quantized


def model_of(*op_types: str) -> ir.Model:
    """Nodes of these kinds one after the other, named after their places."""
    value = first = ir.Value(name="x")
    nodes = []
    for place, op_type in enumerate(op_types):
        node = ir.Node("", op_type, [value], outputs=[ir.Value(name=f"v{place}")], name=f"n{place}")
        nodes.append(node)
        value = node.outputs[0]
    return ir.Model(ir.Graph([first], [value], nodes=nodes), ir_version=8)


@pytest.mark.parametrize(
    "op_type",
    [
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeLSTM"),
        *("QLinearConv", "QLinearMatMul", "QLinearAdd", "ConvInteger", "MatMulInteger"),
        *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits", "MatMulBnb4"),
        *("GatherBlockQuantized", "QAttention", "QGemm", "QMoE", "QOrderedMatMul"),
    ],
)
def test_the_first_quantized_node_is_found(op_type: str) -> None:
    model = model_of("Relu", op_type, "DequantizeLinear")
    assert is_quantized(model)
    found = first_quantized_node(model)
    assert found is not None
    assert found.name == "n1"


def test_operators_of_similar_names_are_float() -> None:
    model = model_of("QuickGelu", "GroupQueryAttention", "Quaternion", "BitShift", "MatMul", "LSTM")
    assert not is_quantized(model)
    assert first_quantized_node(model) is None


def test_branches_count() -> None:
    model = model_of("Relu")
    branch = model_of("QuantizeLinear").graph
    condition = model.graph.inputs[0]
    choice = ir.Node("", "If", [condition], [ir.AttrGraph("then_branch", branch)], num_outputs=1)
    model.graph.append(choice)
    found = first_quantized_node(model)
    assert found is not None
    assert found.op_type == "QuantizeLinear"
