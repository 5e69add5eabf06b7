"""The grid of an activation: zero is exact, half a step is the worst error inside the range."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from int8_arithmetic import dequantize_array

from quantizers.calibration.observers import Range
from quantizers.calibration.scales import SMALLEST_SCALE, grid_for, quantize_array

ends = st.floats(-(2.0**100), 2.0**100, width=32)


@given(ends, ends, st.lists(st.floats(0, 1), min_size=1))
def test_values_come_back_within_half_a_step(one: float, two: float, where: list[float]) -> None:
    low, high = sorted((one, two))
    grid = grid_for(Range(low, high))
    values = np.float32([low + share * (high - low) for share in where] + [low, high])
    error = np.abs(dequantize_array(quantize_array(values, grid), grid).astype(np.float64) - values)
    rounding = 4 * np.finfo(np.float32).eps * np.abs(values)
    assert (error <= 0.5 * grid.scale + rounding).all()


@given(ends, ends)
def test_zero_is_exact(one: float, two: float) -> None:
    grid = grid_for(Range(*sorted((one, two))))
    zeros = np.zeros(3, np.float32)
    assert 0 <= grid.zero_point <= 255
    assert (quantize_array(zeros, grid) == grid.zero_point).all()
    assert (dequantize_array(quantize_array(zeros, grid), grid) == 0).all()


@given(st.floats(0, 1e6, width=32), st.floats(2.0**-20, 1e6, width=32))
def test_the_grid_of_a_clipped_value_stays_below_the_ceiling(high: float, ceiling: float) -> None:
    grid = grid_for(Range(0.0, min(high, ceiling)), ceiling)
    assert grid.zero_point == 0
    assert np.float32(255) * np.float32(grid.scale) <= np.float32(ceiling)
    assert grid.high >= min(high, ceiling) * (1 - 1e-6)


def test_six_is_the_last_step_of_relu6() -> None:
    grid = grid_for(Range(0.0, 6.0), 6.0)
    assert np.float32(255) * np.float32(grid.scale) <= np.float32(6)
    assert grid.high == pytest.approx(6, rel=1e-6)


@pytest.mark.parametrize("span", [Range(0.0, 0.0), Range(-0.0, 0.0)])
def test_a_dead_tensor_gets_a_grid_with_zero_on_it(span: Range) -> None:
    grid = grid_for(span)
    assert (grid.zero_point, grid.high) == (0, pytest.approx(1.0))
    assert grid_for(span, 0.5).high <= 0.5


@pytest.mark.parametrize("span", [Range(-3e38, 3e38), Range(0.0, 1e-40), Range(-1e-45, 0.0)])
def test_extreme_ranges_keep_a_usable_scale(span: Range) -> None:
    grid = grid_for(span)
    assert np.isfinite(grid.scale)
    assert grid.scale >= SMALLEST_SCALE
    assert np.float32(grid.scale) == grid.scale


def test_ranges_beside_zero_are_widened_to_it() -> None:
    above, below = grid_for(Range(2.0, 4.0)), grid_for(Range(-4.0, -2.0))
    assert (above.zero_point, above.low) == (0, 0.0)
    assert (below.zero_point, below.high) == (255, 0.0)


def test_rounding_is_that_of_onnx_runtime(
    graph: Callable[..., ir.Model], run: Callable[..., np.ndarray]
) -> None:
    grid = grid_for(Range(-1.7, 2.9))
    model = graph(
        "g (float[n] x, float s, uint8 z) => (uint8[n] q) { q = QuantizeLinear (x, s, z) }",
        {"s": np.float32(grid.scale), "z": np.uint8(grid.zero_point)},
    )
    steps = np.arange(-40, 300, dtype=np.float32) - grid.zero_point
    # The half steps are where rounding modes part.
    x = np.concatenate([steps * np.float32(grid.scale), (steps + 0.5) * np.float32(grid.scale)])
    np.testing.assert_array_equal(quantize_array(x, grid), run(model, x=x))
