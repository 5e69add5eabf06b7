"""INT8 of inputs that take few values, or hold a constant far from all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantizers import QuantizeOptions, quantize_model

QUICK = QuantizeOptions(rounding="nearest", equalize=False)
RNG = np.random.default_rng(0)
ONES = (RNG.random((256, 32)) < 0.15).astype(np.float32)
NOISE = RNG.normal(size=(256, 32)).astype(np.float32)


@pytest.fixture
def network(graph: Any) -> Any:
    rng = np.random.default_rng(1)
    weights = {
        "w": (0.3 * rng.normal(size=(32, 24))).astype(np.float32),
        "v": (0.3 * rng.normal(size=(24, 4))).astype(np.float32),
    }
    text = """g (float[N, 32] x, float[32, 24] w, float[24, 4] v) => (float[N, 4] y) {
        a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, v) }"""
    return graph(text, weights)


@pytest.fixture
def decibels(network: Any, bound: Any, run: Any, sqnr: Any) -> Any:
    def measure(x: np.ndarray[Any, Any]) -> tuple[float, Any]:
        quantized, report = quantize_model(network, bound(network, x=x), options=QUICK)
        return sqnr(run(network, x=x), run(quantized, x=x)), report

    return measure


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (1.0, 0.0)])
def test_two_values_are_as_good_as_scattered_ones(
    decibels: Any, values: tuple[float, float]
) -> None:
    zero, one = values
    reached, report = decibels(np.where(ONES == 0, zero, one).astype(np.float32))
    scattered, _ = decibels(
        np.where(ONES == 0, zero, one * RNG.uniform(0.9, 1, ONES.shape)).astype(np.float32)
    )
    assert reached > scattered - 1
    assert {one.precision for one in report.operators} == {"int8"}


def test_one_hot_rows_are_right(decibels: Any) -> None:
    reached, _ = decibels(np.eye(32, dtype=np.float32)[RNG.integers(0, 32, 256)])
    assert reached > 30


@pytest.mark.parametrize(("weight", "precision"), [(0.0, "int8"), (1e-3, "float32")])
def test_a_sentinel_does_not_cost_what_the_other_values_say(
    graph: Any, bound: Any, run: Any, sqnr: Any, weight: float, precision: str
) -> None:
    rng = np.random.default_rng(1)
    weights = {
        "w": (0.3 * rng.normal(size=(32, 24))).astype(np.float32),
        "v": (0.3 * rng.normal(size=(24, 4))).astype(np.float32),
    }
    weights["w"][0] = weight * rng.normal(size=24)
    text = """g (float[N, 32] x, float[32, 24] w, float[24, 4] v) => (float[N, 4] y) {
        a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, v) }"""
    model = graph(text, weights)
    x = NOISE.copy()
    x[::3, 0] = -9999.0
    quantized, report = quantize_model(model, bound(model, x=x), options=QUICK)
    assert sqnr(run(model, x=x), run(quantized, x=x)) > 30
    first = report.operators[0]
    assert first.precision == precision
    if precision == "float32":
        assert "INT8 cannot hold both parts of 'x'" in str(first.reason)
        assert "is -9999, and the rest between" in str(first.reason)
        assert report.operators[-1].precision == "int8"
