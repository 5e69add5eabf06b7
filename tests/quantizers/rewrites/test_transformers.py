"""Transformer blocks in the form that ONNX Runtime runs fast compute the same."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import quantize_model
from quantizers.policy.plan import Plan
from quantizers.qdq.fusion import examine_fusion
from quantizers.rewrites.transformers import KeepSumsApart

rng = np.random.default_rng(0)
W = rng.normal(size=(8, 6)).astype(np.float32)
X = rng.normal(size=(5, 8)).astype(np.float32)


def fused(model: ir.Model) -> Counter[str]:
    return Counter(examine_fusion(model, Plan((), {}, {}, {})).operators)


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
        => (float[n, 5, 16] y) <float root = {1.4142135}, float one = {1}, float half = {0.5}>
        { h = MatMul (x, w1) s = Div (h, root) e = Erf (s) a = Add (e, one)
          i = Mul (h, half) g = Mul (i, a) d = MatMul (g, w2) r = Add (x, d)
          y = LayerNormalization (r, gamma) }""",
        weights,
    )
    x = rng.normal(size=(64, 5, 16)).astype(np.float32)
    result, report = quantize_model(model, bound(model, x=x))
    assert sqnr(run(model, x=x), run(result, x=x)) > 30
    assert report.optimized_operators["MatMulIntegerToFloat"] == 2
    assert "SkipLayerNormalization" not in report.optimized_operators
    assert "Erf" not in report.optimized_operators
