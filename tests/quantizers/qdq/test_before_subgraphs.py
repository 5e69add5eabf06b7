"""What a loop reads from outside of it loads and is the same, in INT8 and behind a move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from quantizers.qdq.before_subgraphs import settle_before_subgraphs

X = np.random.default_rng(0).uniform(0, 25, (2, 1, 4)).astype(np.float32)

MOVES = {
    "none": "t = Identity(d)",
    "Transpose": "t = Transpose <perm = [1, 0, 2]> (d)",
    "Reshape": "t = Reshape(d, shape)",
    "Squeeze": "t = Squeeze(d, one)",
    "Unsqueeze": "t = Unsqueeze(d, one)",
    "Slice": "t = Slice(d, zero, one)",
    "two moves": "u = Transpose <perm = [1, 0, 2]> (d) i = Identity(u) t = Reshape(i, shape)",
    "MaxPool": "t = MaxPool <kernel_shape = [2]> (d)",
}


def model_of(move: str) -> ir.Model:
    """A loop whose body reads ``t``, which is ``move`` of quantized numbers."""
    return ir.from_proto(
        onnx.parser.parse_model(
            f"""
            <ir_version: 9, opset_import: ["" : 18]>
            main (float[2, 1, 4] x) => (float y)
            <float s = {{0.1}}, uint8 z = {{0}}, int64[2] shape = {{-1, 4}},
             int64[1] one = {{1}}, int64[1] zero = {{0}}, int64 times = {{3}}, bool go = {{1}},
             float start = {{0.0}}>
            {{
                q = QuantizeLinear(x, s, z)
                d = DequantizeLinear(q, s, z)
                {move}
                y = Loop <body = body (int64 i, bool c, float a) => (bool c2, float b) {{
                    c2 = Identity(c)
                    r = ReduceSum <keepdims = 0> (t)
                    b = Add(a, r)
                }}> (times, go, start)
            }}
            """
        )
    )


def run(model: ir.Model, level: Any) -> float:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 3
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return float(session.run(None, {"x": X})[0])


def made(op_type: str, prefix: str, inputs: Sequence[ir.Value | None]) -> ir.Node:
    name = f"new_{prefix}"
    return ir.Node("", op_type, inputs, outputs=[ir.Value(name=name)], name=name)


@pytest.mark.parametrize("move", MOVES)
def test_it_loads_and_is_the_same(move: str) -> None:
    model = model_of(MOVES[move])
    before = run(model, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    settle_before_subgraphs(model.graph, made)
    quantized = sum(node.op_type == "QuantizeLinear" for node in model.graph)
    assert quantized == 2  # without the second, ONNX Runtime would end this process
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        found = run(model, getattr(onnxruntime.GraphOptimizationLevel, level))
        assert found == pytest.approx(before)


@pytest.mark.parametrize("between", ["t = Relu(d)", "t = Transpose(x)", ""])
def test_what_was_computed_in_float_stays(between: str) -> None:
    model = model_of(between or "t = Identity(d)")
    if not between:  # the loop reads the dequantized numbers themselves
        moved = next(node for node in model.graph if node.op_type == "Identity")
        moved.outputs[0].replace_all_uses_with(moved.inputs[0])
        model.graph.remove(moved, safe=True)
    before = len(model.graph)
    settle_before_subgraphs(model.graph, made)
    assert len(model.graph) == before
