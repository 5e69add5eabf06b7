"""A model's own rounding error, and the judgement that rests on it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import check, open_runtime
from runtimes.engines.keras import KerasRuntime
from runtimes.keras_models.float64 import double_model
from runtimes.parity.rounding_noise import Probe, in_double, measure_noise

Graph = Callable[[str], ir.Model]

# Subtracting 1000 again cancels all but a few bits: rounding is amplified a thousandfold.
CANCELLING = (
    "g (float[n, 4] x) => (float[n, 4] y) <float k = {1000.1}> { a = Add(x, k)\n y = Sub(a, k) }"
)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)


def rows(x: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{"x": x[i : i + 1]} for i in range(len(x))]


def test_noise_is_the_distance_to_the_exact_value(graph: Graph, x: Any) -> None:
    with open_runtime(graph(CANCELLING)) as runtime:
        noise = measure_noise(runtime, rows(x))
        found = runtime.run({"x": x})["y"]
    assert noise is not None
    assert noise.method == "against float64"
    assert noise.errors["y"] == pytest.approx(np.abs(found - x.astype(np.float64)).max())
    assert 1e-5 < noise.errors["y"] < 1e-4


def test_noise_is_at_least_what_storing_costs(scaled: Any, x: Any) -> None:
    with open_runtime(scaled(2)) as runtime:
        noise = measure_noise(runtime, rows(x))
    assert noise is not None
    assert noise.errors["y"] == pytest.approx(np.abs(2 * x).max() * 2.0**-24)


def test_inputs_are_moved_where_double_cannot_be_had(graph: Graph, x: Any) -> None:
    quantized = graph(
        "q (float[n, 4] x) => (float[n, 4] y) <float s = {0.1}, uint8 z = {128}>"
        "{ r = RandomNormalLike<scale = 1e-20>(x)\n b = Add(x, r)\n y = Mul(b, s) }"
    )
    with open_runtime(quantized) as runtime:
        noise = measure_noise(runtime, rows(x))
        assert noise is not None
        assert noise.method == "inputs moved by one unit in the last place"
        assert 0 < noise.errors["y"] < 1e-7
        # Whole numbers may be indices: moved, 3 would become 2.
        assert measure_noise(runtime, rows(np.round(x))) is None
        assert measure_noise(runtime, []) is None


def test_what_amplifies_rounding_is_allowed_to_differ(graph: Graph, x: Any) -> None:
    other = graph(
        "h (float[n, 4] x) => (float[n, 4] y) <float k = {333.3}, float j = {666.8}>"
        "{ a = Add(x, k)\n b = Add(a, j)\n c = Sub(b, k)\n y = Sub(c, j) }"
    )
    report = check(graph(CANCELLING), other, x)
    assert report.passed
    (output,) = report.outputs
    assert output.max_abs_error > 2e-5  # a usual atol of 1e-5 would fail an equal model
    assert "the reference's own rounding error" in report.reason
    assert report.rows()[0]["× rounding noise"].endswith("×")


def test_what_does_not_is_held_to_its_own_rounding(scaled: Any, graph: Graph, x: Any) -> None:
    # A hundred thousandth passes any usual tolerance, and is no rounding.
    assert check(scaled(3), scaled(3.00001), x, rtol=1e-4).passed
    report = check(scaled(3), scaled(3.00001), x)
    assert not report.passed
    assert "beyond 16×" in report.reason
    assert check(scaled(3), scaled(3.0000002), x).passed


def test_the_probe_keeps_the_first_and_the_worst() -> None:
    probe = Probe()
    for start in range(0, 64, 16):
        indices = np.arange(start, start + 16)
        errors = np.where(indices == 37, 9.0, indices / 100)
        probe.add({"x": indices[:, None].astype(np.float32)}, indices, {"y": errors, "z": None})
    assert [int(feed["x"][0, 0]) for feed in probe.samples()] == [0, 1, 2, 3, 37, 61, 62, 63]


def test_large_samples_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimes.parity.rounding_noise._MAX_FEED_BYTES", 100)
    probe = Probe()
    probe.add({"x": np.zeros((9, 30))}, np.arange(9), {"y": np.arange(9.0)})
    assert len(probe.samples()) == 2


def test_a_fixed_batch_is_filled_up(graph: Graph, x: Any) -> None:
    fixed = graph(
        "g (float[8, 4] x) => (float[8, 4] y) <float k = {1000.1}>{ a = Add(x, k)\n y = Sub(a, k) }"
    )
    assert check(fixed, graph(CANCELLING), x).passed
    with open_runtime(fixed) as runtime:
        assert in_double(runtime).run({"x": x[:3]})["y"].shape == (3, 4)


def test_keras_in_double(digits_model: Any, digits: Any) -> None:
    images = digits[1]["image"][:5]
    copy = double_model(digits_model)
    assert {weight.dtype for weight in copy.weights} == {"float64"}
    assert {weight.dtype for weight in digits_model.weights} == {"float32"}
    with KerasRuntime(digits_model) as runtime:
        exact = in_double(runtime).run({"image": images})
        noise = measure_noise(runtime, [{"image": images}])
    assert exact["digit"].dtype == np.float64
    np.testing.assert_allclose(exact["digit"], np.asarray(digits_model(images)), atol=1e-4)
    assert noise is not None
    assert noise.method == "against float64"
    assert 0 < noise.errors["digit"] < 1e-4
