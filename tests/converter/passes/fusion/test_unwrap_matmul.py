from __future__ import annotations

import numpy as np
import pytest

from converter.passes.fusion.unwrap_matmul import UnwrapMatMul
from converter.passes.shapes.infer_shapes import InferShapes


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def unwrap(graph, check_pass, body, out="N, 4, 5", **arrays):
    arrays = {"w": normal(3, 5), "flat": np.array([-1, 3]), **arrays}
    model = graph(f"(float[N, 4, 3] x) => (float[{out}] y)", body, **arrays)
    InferShapes()(model)
    # What FoldStaticShapes knows about the second target.
    for node in model.graph:
        if node.outputs[0].name == "back":
            node.outputs[0].shape = model.graph.outputs[0].shape
    return model, check_pass(UnwrapMatMul(), model)


BACK = np.array([-1, 4, 5])


@pytest.mark.parametrize("add", ["i = MatMul(r, w)", "m = MatMul(r, w) i = Add(m, b)",
                                 "m = MatMul(r, w) i = Add(b, m)"])  # fmt: skip
def test_dense_on_a_sequence(graph, check_pass, ops, add):
    arrays = {"b": normal(5)} if "b" in add else {}
    body = f"r = Reshape(x, flat) {add} back = Reshape(i, to) y = Relu(back)"
    model, result = unwrap(graph, check_pass, body, to=BACK, **arrays)
    assert result.modified
    assert "Reshape" not in ops(model)


@pytest.mark.parametrize(
    ("body", "out", "arrays"),
    [
        ("r = Reshape(x, flat) i = MatMul(r, w) y = Relu(i)", "M, 5", {}),
        (
            "r = Reshape(x, flat) i = MatMul(r, w) back = Reshape(i, to) y = Relu(back)",
            "N, 2, 10",
            {"to": np.array([-1, 2, 10])},
        ),
        (
            "r = Reshape(x, flat) i = MatMul(r, w) a = Add(i, b) back = Reshape(a, to)"
            "y = Relu(back)",
            "3, 4, 5",
            {"b": normal(12, 5), "to": np.array([3, 4, 5])},
        ),
        (
            "r = Reshape(x, flat) i = MatMul(r, w) s = ReduceSum(r, one) back = Reshape(i, to)"
            "t = ReduceSum<keepdims = 0>(s) y = Mul(back, t)",
            "N, 4, 5",
            {"one": np.array([0]), "to": BACK},
        ),
    ],
)
def test_near_misses_stay(graph, check_pass, body, out, arrays):
    assert not unwrap(graph, check_pass, body, out, **arrays)[1].modified
