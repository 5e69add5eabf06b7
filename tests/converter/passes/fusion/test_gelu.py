"""GELU written out stays whole, and becomes one node from opset 20; what looks like it stays."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes import optimize
from converter.passes.fusion.gelu import FuseGelu, HalveGeluFirst
from runtimes.engines.ort import OrtRuntime

SQRT2 = np.float32(math.sqrt(2))
HALF, ONE, THREE = np.float32(0.5), np.float32(1), np.float32(3)
CUBIC, ROOT = np.float32(0.044715), np.float32(math.sqrt(2 / math.pi))

EXACT = {
    "half last": "d = Div(x, s) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "half first": "d = Div(x, s) e = Erf(d) a = Add(one, e) h = Mul(half, x) y = Mul(h, a)",
    "half of the gate": "d = Div(x, s) e = Erf(d) a = Add(e, one) h = Mul(a, half) y = Mul(x, h)",
    "gate first": "d = Div(x, s) e = Erf(d) a = Add(e, one) m = Mul(a, x) y = Mul(half, m)",
}
INSIDE = "p = Pow(x, three) w = Mul(p, cubic) i = Add(x, w) r = Mul(i, root) t = Tanh(r)"
TANH = {
    "half first": f"{INSIDE} a = Add(t, one) h = Mul(x, half) y = Mul(h, a)",
    "half last": f"{INSIDE} a = Add(t, one) m = Mul(x, a) y = Mul(m, half)",
}


def used(body: str, **arrays: object) -> dict[str, object]:
    """Of all constants those that ``body`` mentions."""
    known = {"s": SQRT2, "half": HALF, "one": ONE, "three": THREE, "cubic": CUBIC, "root": ROOT}
    known |= arrays
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return {name: value for name, value in known.items() if name in words}


@pytest.mark.parametrize("name", EXACT)
def test_exact(graph, check_pass, ops, name):
    model = graph("(float[N, 4] x) => (float[N, 4] y)", EXACT[name], opset=20, **used(EXACT[name]))
    assert check_pass(FuseGelu(), model).modified
    assert ops(model) == ["Gelu"]
    assert model.graph[0].attributes["approximate"].value == "none"
    assert not model.graph.initializers
    assert not FuseGelu()(model).modified


@pytest.mark.parametrize("name", TANH)
def test_by_tanh(graph, check_pass, ops, name):
    model = graph("(float[N, 4] x) => (float[N, 4] y)", TANH[name], opset=20, **used(TANH[name]))
    assert check_pass(FuseGelu(), model).modified
    assert ops(model) == ["Gelu"]
    assert model.graph[0].attributes["approximate"].value == "tanh"


def test_a_product_with_the_reciprocal_of_the_root(graph, check_pass, ops):
    body = "d = Mul(x, s) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)"
    arrays = used(body, s=np.float32(math.sqrt(0.5)))
    model = graph("(float[N, 4] x) => (float[N, 4] y)", body, opset=20, **arrays)
    assert check_pass(FuseGelu(), model).modified
    assert ops(model) == ["Gelu"]


def test_in_the_middle_of_a_graph(graph, check_pass, ops):
    body = f"x = Relu(v) {EXACT['half first'].replace('y =', 'g =')} y = Neg(g)"
    model = graph("(float[N, 4] v) => (float[N, 4] y)", body, opset=20, **used(body))
    model.graph[4].metadata_props["kilnx.layer"] = "activation"
    model.graph[5].metadata_props["kilnx.layer"] = "activation"
    assert check_pass(FuseGelu(), model).modified
    assert ops(model) == ["Relu", "Gelu", "Neg"]
    assert model.graph[1].metadata_props == {"kilnx.layer": "activation"}


def test_not_below_opset_20(graph, check_pass):
    body = EXACT["half first"]
    model = graph("(float[N, 4] x) => (float[N, 4] y)", body, opset=19, **used(body))
    assert not check_pass(FuseGelu(), model).modified


EXACT_BODY, TANH_BODY = EXACT["half first"], TANH["half first"]
NEAR_MISSES = {
    "another root": (EXACT_BODY, {"s": np.float32(1.5)}),
    "another half": (EXACT_BODY, {"half": np.float32(0.51)}),
    "another one": (EXACT_BODY, {"one": np.float32(1.01)}),
    "a half for each channel": (EXACT_BODY, {"half": np.full(4, 0.5, np.float32)}),
    "another power": (TANH_BODY, {"three": np.float32(2)}),
    "another cubic factor": (TANH_BODY, {"cubic": np.float32(0.0447)}),
    "another outer factor": (TANH_BODY, {"root": np.float32(0.8)}),
    "the root on the other side": (EXACT_BODY.replace("Div(x, s)", "Div(s, x)"), {}),
    "no one": (EXACT_BODY.replace("a = Add(one, e)", "a = Sub(one, e)"), {}),
    "the curve of another tensor": (EXACT_BODY.replace("Div(x, s)", "Div(z, s)"), {}),
    "the cube of another tensor": (TANH_BODY.replace("Pow(x, three)", "Pow(z, three)"), {}),
    "tanh for erf": (EXACT_BODY.replace("Erf", "Tanh"), {}),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay(graph, check_pass, name):
    body, arrays = NEAR_MISSES[name]
    body = f"z = Neg(v) x = Abs(v) {body}"
    model = graph("(float[N, 4] v) => (float[N, 4] y)", body, opset=20, **used(body, **arrays))
    result = check_pass(FuseGelu(), model)
    assert not result.modified
    assert result.refusals == ()


@pytest.mark.parametrize(
    ("outputs", "more", "reason"),
    [
        ("float[N, 4] y, float[N, 4] e", "", "'e', is an output of the graph too"),
        ("float[N, 4] y, float[N, 4] q", "q = Neg(a)", "'a', is used elsewhere too"),
    ],
)
def test_a_result_that_is_needed_elsewhere_is_a_refusal(graph, check_pass, outputs, more, reason):
    body = f"{EXACT_BODY} {more}"
    model = graph(f"(float[N, 4] x) => ({outputs})", body, opset=20, **used(body))
    result = check_pass(FuseGelu(), model)
    assert not result.modified
    assert [refusal.reason for refusal in result.refusals] == [f"a result inside it, {reason}"]


def test_doubles_stay(graph):
    arrays = {name: np.float64(value) for name, value in used(EXACT_BODY).items()}
    model = graph("(double[N, 4] x) => (double[N, 4] y)", EXACT_BODY, opset=20, **arrays)
    assert not FuseGelu()(model).modified  # ONNX Runtime has neither operator for them


RECIPROCAL = EXACT["half last"].replace("Div(x, s)", "Mul(x, s)")
SCALED_BY = {"s": np.float32(math.sqrt(0.5))}


@pytest.mark.parametrize("name", [*EXACT, "by the reciprocal"])
def test_the_half_comes_first(graph, check_pass, ops, name):
    body, arrays = EXACT.get(name, RECIPROCAL), {} if name in EXACT else SCALED_BY
    model = graph("(float[N, 4] x) => (float[N, 4] y)", body, **used(body, **arrays))
    assert check_pass(HalveGeluFirst(), model).modified == (name != "half first")
    last = model.graph.outputs[0].producer()
    (halved,) = [v.producer() for v in last.inputs if v.producer().op_type == "Mul"]
    assert {value.name for value in halved.inputs} == {"x", "half"}
    assert sorted(ops(model)) == ["Add", "Div", "Erf", "Mul", "Mul"]
    assert len(model.graph.initializers) == 3
    assert not check_pass(HalveGeluFirst(), model).modified


@pytest.mark.parametrize("name", [name for name in NEAR_MISSES if "cub" not in name])
def test_other_halves_stay(graph, check_pass, name):
    body, arrays = NEAR_MISSES[name]
    # The half last, where the near miss had it first.
    body = body.replace("h = Mul(half, x) y = Mul(h, a)", "h = Mul(x, a) y = Mul(h, half)")
    body = f"z = Neg(v) x = Abs(v) {body}"
    model = graph("(float[N, 4] v) => (float[N, 4] y)", body, **used(body, **arrays))
    result = check_pass(HalveGeluFirst(), model)
    assert not result.modified
    assert result.refusals == ()


def test_a_product_that_is_needed_elsewhere_stays(graph, check_pass):
    body = f"{EXACT['half last']} q = Neg(m)"
    model = graph("(float[N, 4] x) => (float[N, 4] y, float[N, 4] q)", body, **used(body))
    result = check_pass(HalveGeluFirst(), model)
    assert not result.modified
    assert "'m', is used elsewhere" in str(result.refusals[0])


def test_a_half_with_more_dimensions_than_the_data_stays(graph, check_pass):
    body = EXACT["half last"]
    arrays = used(body, half=np.full((1, 1, 1), 0.5, np.float32))
    model = graph("(float[N, 4] x) => (float[1, N, 4] y)", body, **arrays)
    result = check_pass(HalveGeluFirst(), model)
    assert not result.modified
    assert "more dimensions" in str(result.refusals[0])


@pytest.mark.parametrize("name", [*EXACT, "by the reciprocal"])
@pytest.mark.parametrize("layer", ["MatMul", "Gemm"])
def test_onnx_runtime_sees_the_formula_in_front_of_a_layer(graph, tmp_path, name, layer):
    """Wherever the half was, and whatever else is simplified around it."""
    body, arrays = EXACT.get(name, RECIPROCAL), {} if name in EXACT else SCALED_BY
    body = f"{body.replace('y =', 'g =')} y = {layer}(g, w)"
    arrays = used(body, **arrays, w=np.float32(np.arange(12).reshape(4, 3)))
    model = optimize(graph("(float[N, 4] x) => (float[N, 3] y)", body, **arrays))
    path = tmp_path / "optimized.onnx"
    with OrtRuntime(model, threads=1, optimized_model_path=path):
        pass
    assert [node.op_type for node in ir.load(path).graph] == ["Gelu", layer]
