from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.layout.operators import mover, rebuild
from converter.passes.shapes.infer_shapes import InferShapes
from runtimes.onnx_graph.axis_order import AxisOrder


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


def forms(draw):
    """An order of axes for rank four: permuted, with more axes of size one, or with fewer."""
    kind = draw(st.sampled_from(["permuted", "more", "fewer"]))
    if kind == "permuted":
        return AxisOrder(tuple(draw(st.permutations(range(4)))), 4)
    place = draw(st.integers(0, 4))
    if kind == "more":
        return AxisOrder(tuple(axis for axis in range(5) if axis != place), 5)
    return AxisOrder((None, 0, 1, 2), 3)


@pytest.mark.parametrize("expression", CASES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_computing_on_another_form_gives_that_form_of_the_result(graph, run, expression, data):
    order = forms(data.draw)
    batch = 1 if expression.startswith("Squeeze") or order.rank == 3 else 3
    arrays = dict(CASES[expression])
    if expression.startswith("Concat") and "k" in arrays:
        arrays["k"] = arrays["k"][:batch]
    count = 5 if expression.startswith("Split") else 1
    names = ["y", *[f"y{i}" for i in range(1, count)]]
    outputs = ", ".join(f"float[?] {name}" for name in names)
    model = graph(f"(float[{batch}, 4, 5, 6] x) => ({outputs})",
                  f"{', '.join(names)} = {expression}", **arrays)  # fmt: skip
    for output in model.graph.outputs:
        output.shape = None
    InferShapes()(model)
    x = normal(batch, 4, 5, 6)
    want = run(model, {"x": x})
    found = mover(model.graph[0])
    result_order = found.output(order)
    if result_order is None or not found.fits(order, result_order):
        # Only a form that lacks an axis can be beyond what an operator can do.
        assert order.rank != 4
        return
    form = ir.val("s", ir.DataType.FLOAT, order.shape(model.graph.inputs[0].shape))
    inputs = dict.fromkeys(found.data, form)
    new = rebuild(found, order, result_order, inputs, model.graph)
    for output, name in zip(new.outputs, names, strict=True):
        output.name = name
    rebuilt = ir.Graph([form], new.outputs, nodes=[new], opset_imports={"": 18}, name="rebuilt")
    for value in new.inputs:
        if value is not None and value.const_value is not None:
            model.graph.initializers.pop(value.name, None)
            rebuilt.register_initializer(value)
    results = run(ir.Model(rebuilt, ir_version=9), {"s": order.reordered(x)})
    for result, expected, output in zip(results, want, new.outputs, strict=True):
        np.testing.assert_allclose(result, result_order.reordered(expected), rtol=1e-5, atol=1e-6)
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
