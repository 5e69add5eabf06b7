"""Transformer blocks in the form that ONNX Runtime runs fast compute the same."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass, ShapeInferencePass

from quantizers import quantize_model
from quantizers.policy.plan import Plan
from quantizers.qdq.fusion import examine_fusion
from quantizers.rewrites.transformers import KeepSumsApart, RestoreGelu

rng = np.random.default_rng(0)
W = rng.normal(size=(8, 6)).astype(np.float32)
X = rng.normal(size=(5, 8)).astype(np.float32)

GELU = """s = Div (x, root) e = Erf (s) a = Add (e, one) g = Mul (x, a)"""


def gelu(graph, body: str = GELU, tail: str = "y = MatMul (g, w)", shape: str = "5, 6"):
    model = graph(
        f"""g (float[5, 8] x, float[8, 6] w) => (float[{shape}] y)
        <float root = {{1.4142135}}, float unroot = {{0.70710677}}, float one = {{1}},
         float half = {{0.5}}, float two = {{2}}> {{ {body} {tail} }}""",
        {"w": W},
    )
    return ShapeInferencePass()(model).model


def fused(model: ir.Model) -> Counter[str]:
    return Counter(examine_fusion(model, Plan((), {}, {}, {})).operators)


@pytest.mark.parametrize(
    "body",
    [
        GELU,
        "s = Div (x, root) e = Erf (s) a = Add (one, e) g = Mul (a, x)",
        "s = Mul (unroot, x) e = Erf (s) a = Add (e, one) g = Mul (x, a)",
    ],
)
@pytest.mark.parametrize("tail", ["y = MatMul (g, w)", "y = Gemm (g, w)"])
def test_onnx_runtime_sees_the_gelu(graph, run, body: str, tail: str) -> None:
    model = gelu(graph, body, tail)
    rewritten = model.clone()
    assert RestoreGelu()(rewritten).modified
    CheckerPass()(rewritten)
    np.testing.assert_allclose(run(rewritten, x=X), run(model, x=X), rtol=1e-6, atol=1e-6)
    assert fused(model)["Erf"] == 1
    assert fused(rewritten)["Erf"] == 0
    assert not RestoreGelu()(rewritten).modified


SUM = "p = MatMul (g, w) q = Sqrt (g) r = MatMul (q, w) y = Add (p, r)"
OTHER_SCALE = "s = Div (x, two) e = Erf (s) a = Add (e, one) g = Mul (x, a)"
OTHER_SHIFT = "s = Div (x, root) e = Erf (s) a = Add (e, two) g = Mul (x, a)"
OTHER_FUNCTION = "s = Div (x, root) e = Tanh (s) a = Add (e, one) g = Mul (x, a)"
OTHER_FACTOR = "s = Div (x, root) e = Erf (s) a = Add (e, one) g = Mul (s, a)"


@pytest.mark.parametrize(
    ("body", "tail", "shape"),
    [
        (GELU, "y = Identity (g)", "5, 8"),
        (GELU, "y = Mul (g, half)", "5, 8"),
        (GELU, SUM, "5, 6"),
        *((body, "y = MatMul (g, w)", "5, 6") for body in (OTHER_SCALE, OTHER_SHIFT)),
        *((body, "y = MatMul (g, w)", "5, 6") for body in (OTHER_FUNCTION, OTHER_FACTOR)),
    ],
)
def test_what_is_no_halved_gelu_stays(graph, body: str, tail: str, shape: str) -> None:
    model = gelu(graph, body, tail, shape)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert not RestoreGelu()(model).modified
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_a_weight_that_others_read_is_not_doubled(graph) -> None:
    result = RestoreGelu()(gelu(graph, tail="p = MatMul (g, w) q = MatMul (x, w) y = Add (p, q)"))
    assert not result.modified
    assert "does not go into matrix products alone" in str(result.refusals[0])


def normalized(graph, add: str) -> ir.Model:
    return graph(
        f"""g (float[n, 5, 8] x, float[8] w) => (float[n, 5, 8] y)
        {{ r = Relu (x) s = {add} y = LayerNormalization (s, w) }}""",
        {"w": W[:, 0]},
    )


def test_a_residual_sum_is_not_fused_into_the_slow_kernel(graph, run) -> None:
    model = normalized(graph, "Add (x, r)")
    rewritten = model.clone()
    assert KeepSumsApart()(rewritten).modified
    x = X.reshape(1, 5, 8)
    np.testing.assert_allclose(run(rewritten, x=x), run(model, x=x), rtol=1e-5, atol=1e-6)
    assert "SkipLayerNormalization" not in fused(rewritten)
    assert {"Sum", "LayerNormalization"} <= set(fused(rewritten))


@pytest.mark.parametrize("add", ["Add (r, w)", "Mul (x, r)"])
def test_other_sums_stay(graph, add: str) -> None:
    assert not KeepSumsApart()(normalized(graph, add)).modified


def test_a_transformer_block_runs_as_planned(graph, bound, run, sqnr) -> None:
    """Products in INT8, the GELU in one kernel, normalization apart from the sum."""
    weights = {
        "w1": rng.normal(size=(16, 32)).astype(np.float32) / 4,
        "w2": rng.normal(size=(32, 16)).astype(np.float32) / 6,
        "gamma": np.ones(16, np.float32),
    }
    model = graph(
        """g (float[n, 5, 16] x, float[16, 32] w1, float[32, 16] w2, float[16] gamma)
        => (float[n, 5, 16] y) <float root = {1.4142135}, float one = {1}>
        { h = MatMul (x, w1) s = Div (h, root) e = Erf (s) a = Add (e, one) g = Mul (h, a)
          d = MatMul (g, w2) r = Add (x, d) y = LayerNormalization (r, gamma) }""",
        weights,
    )
    x = rng.normal(size=(64, 5, 16)).astype(np.float32)
    result, report = quantize_model(model, bound(model, x=x))
    assert sqnr(run(model, x=x), run(result, x=x)) > 30
    assert report.optimized_operators["MatMulIntegerToFloat"] == 2
    assert "SkipLayerNormalization" not in report.optimized_operators
    assert "Erf" not in report.optimized_operators
