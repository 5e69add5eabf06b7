"""Bias absorption: what never varies costs no codes."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from quantizers.equalization.bias_absorption import absorb_biases
from quantizers.rewrites.prepare import prepare
from runtimes import Dataset
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Run = Callable[..., Array]
Bound = Callable[..., Dataset]

CHAIN = """
    chain (float[n, 3, 6, 6] x, float[16, 3, 1, 1] w1, float[16] b1, float[8, 16, PADDED] w2,
           float[8] b2) => (float[n, 8, 6, 6] y)
    { c1 = Conv (x, w1, b1)
      r1 = Relu (c1)
      y = Conv <pads = [EDGE, EDGE, EDGE, EDGE]> (r1, w2, b2) }
"""


def chain(graph: Graph, level: float, edge: int = 0) -> ir.Model:
    """A first convolution whose channels stand ``level`` above zero, give or take one."""
    rng = np.random.default_rng(0)
    size = 1 + 2 * edge
    text = CHAIN.replace("PADDED", f"{size}, {size}").replace("EDGE", str(edge))
    second = rng.normal(size=(8, 16, size, size)) * 0.3
    second -= second.mean(axis=1, keepdims=True)  # so that the level is not seen in the end
    model = graph(
        text,
        {
            "w1": (rng.normal(size=(16, 3, 1, 1)) * 0.3).astype(np.float32),
            "b1": (level + rng.uniform(0, 0.5, 16)).astype(np.float32),
            "w2": second.astype(np.float32),
            "b2": rng.normal(size=8).astype(np.float32),
        },
    )
    return prepare(model)


def images(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3, 6, 6)).astype(np.float32)


def bounds_of(model: ir.Model, run: Run, x: Array) -> dict[str, tuple[Array, Array]]:
    inner = model.clone()
    inner.graph.outputs[:] = [node.outputs[0] for node in inner.graph if node.op_type == "Relu"]
    inner.graph.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    found = run(inner, x=x)
    return {"r1": (found.min(axis=(0, 2, 3)), found.max(axis=(0, 2, 3)))}


def test_the_model_stays_and_its_range_narrows(graph: Graph, run: Run) -> None:
    x, model = images(50), chain(graph, 20.0)
    bounds = bounds_of(model, run, x)
    expected = run(model, x=x)
    moved = absorb_biases(model, bounds)
    assert set(moved) == {"r1"}
    np.testing.assert_allclose(moved["r1"], bounds["r1"][0])
    np.testing.assert_allclose(run(model, x=x), expected, atol=1e-4)
    low, high = bounds_of(model, run, x)["r1"]
    np.testing.assert_allclose(low, 0, atol=1e-5)
    assert high.max() < 0.2 * bounds["r1"][1].max()


def test_without_a_relu_it_is_the_middle_and_holds_for_any_input(graph: Graph, run: Run) -> None:
    rng = np.random.default_rng(1)
    made = graph(
        "g (float[n, 6] x, float[6, 5] w1, float[5] b1, float[4, 5] w2) => (float[n, 4] y)"
        "{ m = Gemm (x, w1, b1)\n y = Gemm <transB = 1, alpha = 0.5> (m, w2) }",
        {
            "w1": rng.normal(size=(6, 5)).astype(np.float32),
            "b1": np.full(5, 30, np.float32),
            "w2": rng.normal(size=(4, 5)).astype(np.float32),
        },
    )
    model = prepare(made)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    expected = run(model, x=x)
    moved = absorb_biases(model, {"m": (np.full(5, 25.0), np.full(5, 35.0))})
    np.testing.assert_array_equal(moved["m"], np.full(5, 30.0))
    np.testing.assert_allclose(run(model, x=x), expected, atol=1e-4)
    np.testing.assert_allclose(run(model, x=100 * x), run(made, x=100 * x), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("level", "edge"), [(0.0, 0), (20.0, 1)])
def test_where_nothing_is_moved(graph: Graph, run: Run, level: float, edge: int) -> None:
    x, model = images(50), chain(graph, level, edge)
    bounds = bounds_of(model, run, x)
    refused: list[str] = []
    moved = absorb_biases(model, bounds, lambda node, reason: refused.append(reason))
    assert moved == {}
    assert any("border" in reason for reason in refused) is bool(edge)


def test_other_readers_of_what_is_made_forbid_it(graph: Graph) -> None:
    model = graph(
        "g (float[n, 2] x, float[2, 2] w, float[2] b) => (float[n, 2] y, float[n, 2] m)"
        "{ m = Gemm (x, w, b)\n r = Relu (m)\n y = Gemm (r, w, b) }",
        {"w": np.eye(2, dtype=np.float32), "b": np.full(2, 50, np.float32)},
    )
    bounds = {"r": (np.full(2, 49.0), np.full(2, 51.0))}
    assert not absorb_biases(prepare(model), bounds)


def test_int8_comes_closer_by_it(graph: Graph, run: Run, bound: Bound) -> None:
    model = chain(graph, 20.0)
    data = bound(model, x=images(60))
    options = QuantizeOptions(measure=False)
    int8, report = quantize_model(model, data, options=options)
    assert "constant parts of 1 tensors moved into later biases" in report.notes
    plain, _ = quantize_model(model, data, options=QuantizeOptions(measure=False, equalize=False))
    x = images(40, 7)
    expected = run(model, x=x)
    errors = [float(np.square(run(one, x=x) - expected).sum()) for one in (int8, plain)]
    assert errors[0] < errors[1] / 4
