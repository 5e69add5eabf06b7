"""The dedupe step of ``compress``: what it says, and what it leaves alone."""

import numpy as np
import onnx_ir as ir

from converter.compression.steps import STEPS

W = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)


def chain(*weights):
    x = ir.val("x", ir.DataType.FLOAT, ["N", 64])
    nodes, held, value = [], [], x
    for index, array in enumerate(weights):
        tensor = ir.tensor(array, name=f"w{index}")
        held.append(ir.val(f"w{index}", ir.DataType.FLOAT, array.shape, const_value=tensor))
        layer = {"kilnx.layer": f"dense_{index}"}
        nodes.append(ir.node("MatMul", [value, held[-1]], metadata_props=layer))
        value = nodes[-1].outputs[0]
        value.name = f"v{index}"
    value.type, value.shape = x.type, x.shape
    graph = ir.Graph([x], [value], nodes=nodes, initializers=held, opset_imports={"": 18})
    graph.name = "g"
    return ir.Model(graph, ir_version=9)


def test_the_reason_names_layers_and_bytes():
    outcome = STEPS["dedupe"](chain(W, W.copy(), W.T.copy(), W.T.copy(), W + 1), None)
    assert outcome.reason == (
        "3 weights were copies of others in dense_0, dense_1, dense_2 and 1 more, 49,152 bytes"
    )
    assert {merge["how"] for merge in outcome.details["merged"]} == {"equal", "Transpose"}
    assert outcome.details["merged"][0]["layers"] == ("dense_0", "dense_1")


def test_nothing_to_merge_is_no_candidate():
    outcome = STEPS["dedupe"](chain(W, W + 1), None)
    assert outcome.model is None
    assert outcome.reason == "no two weights are equal"
