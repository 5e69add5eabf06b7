"""Equalizing channels: the model stays what it is, and its channels come together."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from quantizers.calibration.statistics import observe
from quantizers.equalization.cross_layer import equalize_channels
from quantizers.policy.plan import make_plan
from quantizers.rewrites.prepare import prepare
from runtimes import Dataset
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Run = Callable[..., Array]
Bound = Callable[..., Dataset]

CHAIN = """
    chain (float[n, 3, 10, 10] x, float[16, 3, 3, 3] w1, float[16] b1, float[16, 1, 3, 3] w2,
           float[8, 16, 1, 1] w3, float[8] b3, float[8, 8, 1, 1] w4, float[8, 5] w5, float[5] b5)
        => (float[n, 5] y)
    { c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
      r1 = Relu (c1)
      c2 = Conv <group = 16, pads = [1, 1, 1, 1]> (r1, w2)
      r2 = LeakyRelu (c2)
      c3 = Conv (r2, w3, b3)
      c4 = Conv (c3, w4)
      sum = Add (c3, c4)
      pool = GlobalAveragePool (sum)
      flat = Flatten (pool)
      y = Gemm (flat, w5, b5) }
"""


def chain_weights(spread: float) -> dict[str, Array]:
    """Weights whose channels differ by ``spread`` without the model computing anything else."""
    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> Array:
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    weights = {
        "w1": tensor(16, 3, 3, 3),
        "b1": tensor(16) * 0.1,
        "w2": tensor(16, 1, 3, 3),
        "w3": tensor(8, 16, 1, 1),
        "b3": tensor(8) * 0.1,
        "w4": tensor(8, 8, 1, 1),
        "w5": tensor(8, 5),
        "b5": tensor(5),
    }
    for makers, readers, count in ((["w1", "b1"], ["w2"], 16), (["w3", "b3", "w4"], ["w5"], 8)):
        factor = 10 ** rng.uniform(-spread, spread, count)
        for name in makers:
            weights[name] = (weights[name].T * factor).T
        for name in readers:
            weights[name] = (weights[name].T / factor).T
        if "w4" in makers:
            weights["w4"] = weights["w4"] / factor[None, :, None, None]
    return {name: array.astype(np.float32) for name, array in weights.items()}


@pytest.fixture
def unequal(graph: Graph) -> ir.Model:
    return prepare(graph(CHAIN, chain_weights(1.5)))


@pytest.fixture
def inputs() -> Array:
    rng = np.random.default_rng(1)
    return rng.normal(size=(96, 3, 10, 10)).astype(np.float32)


def peaks_of(model: ir.Model, data: Dataset) -> dict[str, Array]:
    source = prepare(model)
    return observe(source, make_plan(source.graph), data, QuantizeOptions()).peaks()


def test_the_model_computes_the_same(
    unequal: ir.Model, inputs: Array, bound: Bound, run: Run
) -> None:
    before = run(unequal, x=inputs)
    peaks = peaks_of(unequal, bound(unequal, x=inputs))
    assert equalize_channels(unequal, peaks)
    np.testing.assert_allclose(run(unequal, x=inputs), before, rtol=2e-4, atol=2e-5)


def test_without_data_the_weights_stand_for_the_ranges(
    unequal: ir.Model, inputs: Array, run: Run
) -> None:
    before = run(unequal, x=inputs)
    assert equalize_channels(unequal)
    np.testing.assert_allclose(run(unequal, x=inputs), before, rtol=2e-4, atol=2e-5)


def test_ranges_of_channels_come_together(unequal: ir.Model, inputs: Array, bound: Bound) -> None:
    data = bound(unequal, x=inputs)

    def inequality(peaks: dict[str, Array]) -> float:
        return float(peaks["r1"].max() / peaks["r1"].min())

    before = peaks_of(unequal, data)
    factors = equalize_channels(unequal, before)
    after = peaks_of(unequal, data)
    assert inequality(before) > 100
    assert inequality(after) < 10
    # The factors say what became of every value, so that nothing has to be measured again.
    np.testing.assert_allclose(after["r1"], before["r1"] * factors["r1"], rtol=1e-3)
    assert {"c1", "r1", "c3", "sum"} <= set(factors)
    assert "y" not in factors


def test_int8_survives_unequal_channels(
    unequal: ir.Model, inputs: Array, bound: Bound, run: Run, sqnr: Callable[..., float]
) -> None:
    data = bound(unequal, x=inputs)
    reference = run(unequal, x=inputs)
    found = {}
    for equalize in (False, True):
        options = QuantizeOptions(equalize=equalize, choose_ranges=False)
        result, report = quantize_model(unequal, data, options=options)
        found[equalize] = sqnr(reference, run(result, x=inputs))
        assert any("equalized" in note for note in report.notes) is equalize
    assert found[True] > found[False] + 6


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        ("r = Clip (c, low, six)", "Clip does not let"),
        ("r = Sigmoid (c)", "Sigmoid does not let"),
        ("r = Softmax (c)", "Softmax does not let"),
    ],
)
def test_what_factors_do_not_pass_is_refused(graph: Graph, between: str, reason: str) -> None:
    rng = np.random.default_rng(0)
    model = graph(
        f"""g (float[n, 4, 6, 6] x, float[4, 4, 1, 1] v, float[4, 4, 1, 1] w)
        => (float[n, 4, 6, 6] y) <float low = {{0}}, float six = {{6}}>
        {{ c = Conv (x, v)
          {between}
          y = Conv (r, w) }}""",
        {name: (10 ** rng.uniform(-2, 2, (4, 4, 1, 1))).astype(np.float32) for name in ("v", "w")},
    )
    reasons: list[str] = []
    assert not equalize_channels(prepare(model), refuse=lambda node, why: reasons.append(why))
    assert any(reason in why for why in reasons)


def test_an_output_of_the_model_keeps_its_scale(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4] x, float[4, 4] v, float[4, 4] w) => (float[n, 4] h, float[n, 4] y)
        { h = MatMul (x, v)
          y = MatMul (h, w) }""",
        {
            "v": np.diag(10.0 ** np.arange(4)).astype(np.float32),
            "w": np.ones((4, 4), np.float32),
        },
    )
    assert not equalize_channels(prepare(model))


def test_a_normalization_takes_the_factors_into_its_scale(graph: Graph, run: Run) -> None:
    """What SmoothQuant does: outliers behind a LayerNormalization move into the weights."""
    rng = np.random.default_rng(0)
    scale = np.ones(8, np.float32)
    scale[3] = 60
    model = graph(
        """g (float[n, 5, 8] x, float[8] scale, float[8] offset, float[8, 6] w)
        => (float[n, 5, 6] y)
        { h = LayerNormalization (x, scale, offset)
          y = MatMul (h, w) }""",
        {
            "scale": scale,
            "offset": rng.normal(size=8).astype(np.float32),
            "w": rng.normal(size=(8, 6)).astype(np.float32),
        },
    )
    x = rng.normal(size=(4, 5, 8)).astype(np.float32)
    model = prepare(model)
    before = run(model, x=x)
    factors = equalize_channels(model, {"h": np.abs(scale) * 3.0})
    assert factors["h"].argmin() == 3
    np.testing.assert_allclose(run(model, x=x), before, rtol=1e-4, atol=1e-4)
