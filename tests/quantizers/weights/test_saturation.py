"""16-bit sums of CPUs without VNNI, emulated."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_arithmetic import saturating_product

from quantizers import QuantizeOptions, quantize_model
from quantizers.calibration.scales import QuantizationParameters
from quantizers.policy.plan import make_plan
from quantizers.rewrites.prepare import prepare
from quantizers.weights.saturation import CodeRange, largest_pair_sum, safe_levels


def exact(activation: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return activation.astype(np.int64) @ weight.astype(np.int64)


def test_pairs_saturate_at_sixteen_bits() -> None:
    activation = np.array([[255, 255, 255, 255]], np.uint8)
    assert saturating_product(activation, np.full((4, 1), 127, np.int8))[0, 0] == 2 * 32767
    assert saturating_product(activation, np.full((4, 1), -127, np.int8))[0, 0] == -2 * 32768
    assert saturating_product(activation, np.full((4, 1), 64, np.int8))[0, 0] == 4 * 255 * 64
    odd = saturating_product(activation[:, :3], np.full((3, 1), 127, np.int8))
    assert odd[0, 0] == 32767 + 255 * 127


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), inputs=st.integers(1, 9), top=st.integers(1, 255))
def test_what_is_predicted_safe_never_saturates(seed: int, inputs: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (3, inputs)).astype(np.int8)
    high = rng.integers(0, top + 1, inputs)
    low = rng.integers(0, high + 1)
    reach = largest_pair_sum(weight, CodeRange(low.astype(float), high.astype(float)))
    activation = rng.integers(low, high + 1, (50, inputs)).astype(np.uint8)
    same = (saturating_product(activation, weight.T) == exact(activation, weight.T)).all(axis=0)
    assert same[reach <= 1].all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_predicted_to_saturate_does_at_its_worst_input(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (1, 2)).astype(np.int8)
    seen = CodeRange(np.zeros(2), np.full(2, 255.0))
    worst = [np.where(weight[0] * sign > 0, 255, 0).astype(np.uint8)[None] for sign in (1, -1)]
    differs = [
        saturating_product(one, weight.T)[0, 0] != exact(one, weight.T)[0, 0] for one in worst
    ]
    assert any(differs) == (largest_pair_sum(weight, seen)[0] > 1)


@pytest.fixture
def gemm(graph) -> ir.Model:
    """Outputs 0 and 1 have neighbouring large weights, output 2 has not."""
    weight = np.array([[1, 1, 1, 1], [-1, -1, 0.1, 0.1], [1, 0, -1, 0]], np.float32).T
    return graph(
        "g (float[n, 4] x, float[4, 3] w) => (float[n, 3] y) { y = Gemm (x, w) }", {"w": weight}
    )


def test_only_channels_that_can_saturate_lose_levels(gemm: ir.Model) -> None:
    unit = make_plan(prepare(gemm).graph).units[0]
    full = safe_levels(unit, QuantizationParameters(1 / 255, 0), np.zeros(4), np.ones(4))
    assert full[2] == 127
    assert 63 <= full[0] <= 64
    # Codes that are small for the data leave room: nothing can saturate then.
    small = safe_levels(unit, QuantizationParameters(1 / 255, 0), np.zeros(4), np.full(4, 0.4))
    assert (small == 127).all()


def test_a_depthwise_convolution_needs_no_guard(residual_model: ir.Model) -> None:
    plan = make_plan(prepare(residual_model).graph)
    unit = next(unit for unit in plan.units if unit.name == "depthwise")
    assert (
        safe_levels(unit, QuantizationParameters(1 / 255, 0), np.zeros(8), np.ones(8)) == 127
    ).all()


def test_the_int8_model_does_not_saturate_on_any_cpu(gemm: ir.Model, bound) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (64, 4)).astype(np.float32)
    x[:2] = 1
    for target, safe in (("any", True), ("vnni", False)):
        options = QuantizeOptions(target_cpu=target, choose_ranges=False, rounding="nearest")
        result, report = quantize_model(gemm, bound(gemm, x=x), options=options)
        codes = result.graph.initializers["w"].const_value.numpy()
        activation = np.rint(x / x.max() * 255).astype(np.uint8)
        same = saturating_product(activation, codes) == exact(activation, codes)
        assert same.all() == safe
        assert any("cannot saturate" in note for note in report.notes) == safe
        levels = report.operators[0].weight_levels
        assert levels is None if target == "vnni" else 60 <= levels < 127
