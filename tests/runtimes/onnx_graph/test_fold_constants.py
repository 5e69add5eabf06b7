from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from runtimes.onnx_graph.fold_constants import FoldConstants


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def test_a_chain_folds_in_one_call(graph, check_pass, ops):
    model = graph(
        "(float[N, 4, 8, 8] x) => (float[N, 8, 6, 6] y)",
        """r = Reshape(k, s) w = Transpose<perm = [3, 2, 0, 1]>(r)
        y = Conv<group = 4>(x, w)""",
        k=normal(3, 3, 4, 2),
        s=np.array([3, 3, 1, 8]),
    )
    assert check_pass(FoldConstants(), model, tolerance=0).modified
    assert ops(model) == ["Conv"]
    assert set(model.graph.initializers) == {"w"}


def test_inside_a_subgraph_too(graph, check_pass):
    model = graph(
        "(float[N, 4] x, bool c) => (float[N, 4] y)",
        """y = If (c) <
          then_branch = t () => (float[N, 4] u) { s = Add(a, b) u = Mul(x, s) },
          else_branch = e () => (float[N, 4] v) { v = Mul(x, a) }
        >""",
        a=normal(4),
        b=normal(4),
    )
    assert check_pass(FoldConstants(), model, seed=1).modified
    assert [len(graph) for graph in model.graphs()] == [1, 1, 1]


def test_each_source_is_dropped_when_nothing_uses_it(graph):
    array = normal(64, 64)
    alive = weakref.ref(array)
    model = graph("(float[N, 64] x) => (float[N, 64] y)", "t = Transpose(w) y = MatMul(x, t)",
                  w=array)  # fmt: skip
    del array
    FoldConstants()(model)
    gc.collect()
    assert alive() is None


REFUSALS = {
    "a broadcast": (
        "e = Expand(k, s) y = Add(x, e)",
        {"k": normal(1, 256), "s": np.array([256, 256])},
        "would add 261104 bytes",
    ),
    "a bomb": (
        "c = ConstantOfShape(s) r = ReduceSum(c) y = Add(x, r)",
        {"s": np.array([1 << 20, 1 << 20])},
        "would add",
    ),
    "a copy of a tied weight": (
        "g = MatMul(x, w) t = Transpose(w) y = MatMul(g, t)",
        {"w": normal(256, 256)},
        "would add 262144 bytes",
    ),
    "few bits on purpose": (
        "f = Cast<to = 1>(w) y = MatMul(x, f)",
        {"w": np.ones((256, 256), np.int8)},
        "few bits on purpose",
    ),
    "quantized": (
        "f = DequantizeLinear(w, s) y = MatMul(x, f)",
        {"w": np.ones((256, 256), np.int8), "s": np.float32(0.1)},
        "says how a constant is quantized",
    ),
    "random": (
        "r = RandomUniformLike(k) y = Add(x, r)",
        {"k": normal(256)},
        "two runs of it may differ",
    ),
    "does not fit": (
        "a = Add(k, l) y = MatMul(x, k)",
        {"k": normal(256, 256), "l": normal(3)},
        "do not fit each other",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_say_why(graph, name):
    body, arrays, reason = REFUSALS[name]
    model = graph("(float[256, 256] x) => (float[256, 256] y)", body, **arrays)
    result = FoldConstants()(model)
    assert not result.modified
    assert reason in str(result.refusals[0])


def test_an_output_of_the_graph_stays_a_node(graph, check_pass):
    model = graph("(float[N] x) => (float[N] y, float[2] k)", "k = Add(a, a) y = Relu(x)",
                  a=normal(2))  # fmt: skip
    result = check_pass(FoldConstants(), model)
    assert not result.modified
    assert "output of the graph" in str(result.refusals[0])


def test_what_a_caller_may_override_is_no_constant(graph, check_pass):
    model = graph("(float[N, 2] x, float[2] a) => (float[N, 2] y)", "k = Add(a, a) y = Add(x, k)",
                  a=normal(2))  # fmt: skip
    result = check_pass(FoldConstants(), model)
    assert not result.modified
    assert not result.refusals


def test_the_limit_is_an_option(graph, check_pass):
    model = graph("(float[256, 256] x) => (float[256, 256] y)", "e = Expand(k, s) y = Add(x, e)",
                  k=normal(1, 256), s=np.array([256, 256]))  # fmt: skip
    assert check_pass(FoldConstants(max_growth_bytes=1 << 20), model).modified


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_product_of_constants_is_computed(graph, check_pass, dtype):
    """The first step of an unrolled recurrent layer, whose weight is used again."""
    rng = np.random.default_rng(0)
    kind = "float" if dtype == np.float32 else "float16"
    model = graph(
        f"({kind}[N, 160] x) => ({kind}[N, 160] y)",
        "a = MatMul(h, u) b = Add(x, a) c = Tanh(b) d = MatMul(c, u) y = Add(b, d)",
        h=rng.normal(size=(1, 160)).astype(dtype),
        u=(rng.normal(size=(160, 160)) / 16).astype(dtype),
    )
    check_pass(FoldConstants(), model, tolerance=1e-5 if dtype == np.float32 else 1e-2)
    assert [node.op_type for node in model.graph] == ["Add", "Tanh", "MatMul", "Add"]


def test_a_product_that_takes_too_long_stays(graph, monkeypatch):
    monkeypatch.setattr("runtimes.onnx_graph.evaluate.MOST_PRODUCTS", 100)
    monkeypatch.setattr("runtimes.onnx_graph.evaluate.REFERENCE_LIMIT", 10)
    model = graph(
        "(float[N, 8] x) => (float[N, 8] y)",
        "a = MatMul(h, u) y = Add(x, a)",
        h=np.ones((2, 8), np.float32),
        u=np.ones((8, 8), np.float32),
    )
    assert not FoldConstants()(model).modified
