from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.layout_rules import inverse, mover, rebuild
from converter.passes.shapes import InferShapes


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


K4, PADS = normal(4, 1, 6), np.array([0, 1, 0, 2, 0, 0, 1, 0])
CASES = {
    "Relu(x)": {},
    "Mul(x, k)": {"k": K4},
    "Sub(k, x)": {"k": K4},
    "PRelu(x, k)": {"k": K4},
    "Clip(x, k)": {"k": np.float32(0)},
    "Where(k, x, x)": {"k": K4 > 0},
    "Concat<axis = -2>(x, x)": {},
    "Concat<axis = 1>(x, k)": {"k": normal(3, 2, 5, 6)},
    "Softmax(x)": {},
    "Softmax<axis = 1>(x)": {},
    "ReduceSum(x, k)": {"k": np.array([-1, 1])},
    "ReduceMax(x)": {},
    "ReduceMean<keepdims = 0>(x, k)": {"k": np.array([2])},
    "ReduceL2<keepdims = 0>(x)": {},
    "Squeeze(x, k)": {"k": np.array([0])},
    "Unsqueeze(x, k)": {"k": np.array([0, -1])},
    "Pad(x, k)": {"k": PADS},
    "Slice(x, k, e, a, t)": {
        "k": np.array([1, 0]),
        "e": np.array([9, 4]),
        "a": np.array([-1, 1]),
        "t": np.array([2, 1]),
    },
    "Tile(x, k)": {"k": np.array([1, 2, 1, 3])},
    "Split<axis = 2, num_outputs = 5>(x)": {},
}  # fmt: skip


@pytest.mark.parametrize("expression", CASES)
@settings(max_examples=8, deadline=None)
@given(perm=st.permutations(range(4)))
def test_computing_on_stored_forms_gives_the_stored_form(graph, run, expression, perm):
    batch = 1 if expression.startswith("Squeeze") else 3
    count = 5 if expression.startswith("Split") else 1
    names = ["y", *[f"y{i}" for i in range(1, count)]]
    outputs = ", ".join(f"float[?] {name}" for name in names)
    model = graph(f"(float[{batch}, 4, 5, 6] x) => ({outputs})",
                  f"{', '.join(names)} = {expression}", **CASES[expression])  # fmt: skip
    for output in model.graph.outputs:
        output.shape = None
    InferShapes()(model)
    x = normal(batch, 4, 5, 6)
    want = run(model, {"x": x})
    node, perm = model.graph[0], tuple(perm)
    found = mover(node)
    out_perm = found.output(perm)
    stored = ir.val("s", ir.DataType.FLOAT, [x.shape[axis] for axis in inverse(perm)])
    new = rebuild(found, perm, out_perm, dict.fromkeys(found.data, stored), model.graph)
    for output, name in zip(new.outputs, names, strict=True):
        output.name = name
    rebuilt = ir.Graph([stored], new.outputs, nodes=[new], opset_imports={"": 18}, name="rebuilt")
    for value in new.inputs:
        if value is not None and value.const_value is not None:
            model.graph.initializers.pop(value.name, None)
            rebuilt.register_initializer(value)
    results = run(ir.Model(rebuilt, ir_version=9), {"s": x.transpose(inverse(perm))})
    for result, expected, output in zip(results, want, new.outputs, strict=True):
        np.testing.assert_allclose(result.transpose(out_perm), expected, rtol=1e-5, atol=1e-6)
        assert output.shape == list(result.shape)


FIXED = {
    "Conv(x, k)": {"k": normal(2, 4, 1, 1)},
    "MatMul(x, k)": {"k": normal(6, 2)},
    "Add(x, r)": {},
    "Mul(x, k)": {"k": normal(2, 1, 4, 1, 6)},
    "LayerNormalization(x, k)": {"k": normal(6)},
    "Slice(x, s, e)": {"s": np.array([1]), "e": np.array([2])},
}


@pytest.mark.parametrize("expression", FIXED)
def test_what_depends_on_the_order_has_no_rule(graph, expression):
    model = graph("(float[3, 4, 5, 6] x) => (float[?] y)",
                  f"r = ReduceMax<keepdims = 0>(x, axes) y = {expression}",
                  axes=np.array([0, 1]), **FIXED[expression])  # fmt: skip
    model.graph.outputs[0].shape = None
    InferShapes()(model)
    assert mover(model.graph[1]) is None
