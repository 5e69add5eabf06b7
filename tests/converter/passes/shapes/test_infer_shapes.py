from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converter.passes.shapes.infer_shapes import InferShapes


def test_shapes_and_types_are_filled_in(graph, check_pass):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[?, ?, ?, ?] y)",
        "c = Conv(x, w) r = Relu(c) y = GlobalAveragePool(r)",
        w=np.zeros((4, 3, 3, 3), np.float32),
    )
    for node in model.graph:
        if node.outputs[0].name != "y":
            node.outputs[0].shape = node.outputs[0].type = None
    assert check_pass(InferShapes(), model).modified
    assert model.graph[1].outputs[0].shape == ["N", 4, 6, 6]
    assert model.graph[1].outputs[0].dtype == ir.DataType.FLOAT
    assert model.graph.outputs[0].shape == ["N", 4, 1, 1]
    assert not check_pass(InferShapes(), model).modified


class Unreadable(ir.ExternalTensor):
    def numpy(self):
        raise AssertionError("shape inference must not read weights")

    tobytes = numpy


def test_weights_are_not_read(graph):
    model = graph("(float[N, 300] x) => (float[?, ?] y)", "a = MatMul(x, w) y = Relu(a)",
                  w=np.zeros((300, 40), np.float32))  # fmt: skip
    model.graph.initializers["w"].const_value = Unreadable(
        "absent", 0, 48000, ir.DataType.FLOAT, shape=ir.Shape([300, 40]), name="w"
    )
    assert InferShapes()(model).modified
    assert model.graph[0].outputs[0].shape == ["N", 40]


def test_what_is_known_already_stays(graph):
    model = graph("(float[N, 4] x, int64[2] s) => (float[?, ?] y)", "r = Reshape(x, s) y = Neg(r)")
    model.graph[0].outputs[0].shape = ir.Shape(["time", 2])
    model.graph[0].outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    InferShapes()(model)
    assert model.graph[0].outputs[0].shape == ["time", 2]
    assert model.graph.outputs[0].shape == ["time", 2]


def test_callers_see_no_invented_names(graph):
    model = graph("(float[N, 4] x, int64[2] s) => (float[?, ?] y)", "r = Reshape(x, s) y = Neg(r)")
    InferShapes()(model)
    assert [dim.value for dim in model.graph.outputs[0].shape] == [None, None]
    first = [dim.value for dim in model.graph[0].outputs[0].shape]
    assert len(set(first)) == 2
    InferShapes()(model)
    assert [dim.value for dim in model.graph[0].outputs[0].shape] == first


def test_a_contradiction_is_reported_and_the_rest_inferred(graph):
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3] x, float[4, 5] w) =>'
        "(float[?, ?] y, float[?, ?] z) { r = Relu(x) y = Neg(r) [bad] z = MatMul(r, w) }"
    )
    result = InferShapes()(model)
    assert model.graph[0].outputs[0].shape == ["N", 3]
    assert [refusal.node for refusal in result.refusals] == ["MatMul bad"]
    assert "Incompatible dimensions" in result.refusals[0].reason


def test_operators_of_other_domains_do_not_stop_it():
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 18, "com.other" : 1]>'
        "g (float[N, 3] x) => (float[?, ?] y) { a = Relu(x) b = com.other.Op(a) y = Neg(b) }"
    )
    result = InferShapes()(model)
    assert result.modified
    assert not result.refusals
    assert model.graph[0].outputs[0].shape == ["N", 3]


def test_subgraphs_too(graph):
    model = graph(
        "(float[N, 3] x, bool c) => (float[?, ?] y)",
        """y = If (c) <
          then_branch = t () => (float[?, ?] u) { p = Relu(x) u = Neg(p) },
          else_branch = e () => (float[?, ?] v) { v = Neg(x) }
        >""",
    )
    InferShapes()(model)
    branch = model.graph[0].attributes["then_branch"].as_graph()
    assert branch[0].outputs[0].shape == ["N", 3]
