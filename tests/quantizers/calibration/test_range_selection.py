"""Choosing what eight bits cover."""

import numpy as np
import pytest
from int8_arithmetic import dequantize_array

from quantizers.calibration.observers import HistogramObserver, MinMaxObserver, Range
from quantizers.calibration.range_selection import (
    choose_range,
    data_range,
    divergence,
    entropy_range,
    mse_range,
    percentile_range,
    squared_error,
)
from quantizers.calibration.scales import grid_for, quantize_array


def histogram(values: np.ndarray) -> HistogramObserver:
    observer = HistogramObserver(Range(float(values.min()), float(values.max())))
    observer.update(values)
    return observer


@pytest.fixture
def heavy_tailed() -> np.ndarray:
    return np.random.default_rng(0).standard_t(3, size=200_000).astype(np.float32)


def true_error(values: np.ndarray, span: Range) -> float:
    grid = grid_for(span)
    return float(np.square(dequantize_array(quantize_array(values, grid), grid) - values).mean())


def test_the_expected_error_is_the_error_of_rounding(heavy_tailed: np.ndarray) -> None:
    observer = histogram(heavy_tailed)
    for edge in (4.0, 10.0, 30.0):
        expected = squared_error(observer, Range(-edge, edge))
        assert expected == pytest.approx(true_error(heavy_tailed, Range(-edge, edge)), rel=0.15)


def test_cutting_rare_values_off_is_better_and_searched(heavy_tailed: np.ndarray) -> None:
    observer = histogram(heavy_tailed)
    chosen = choose_range(observer)
    whole = true_error(heavy_tailed, observer.span)
    assert chosen.method != "min-max"
    assert true_error(heavy_tailed, chosen.span) < 0.8 * whole
    grid = [Range(-edge, edge) for edge in np.linspace(2, 60, 100)]
    best = min(true_error(heavy_tailed, span) for span in grid)
    assert true_error(heavy_tailed, mse_range(observer)) < 1.3 * best


def test_entropy_finds_another_range_than_everything(heavy_tailed: np.ndarray) -> None:
    observer = histogram(heavy_tailed)
    found = entropy_range(observer)
    assert found.high < 0.5 * observer.span.high
    assert divergence(observer, found) < divergence(observer, observer.span)


def test_percentiles_leave_out_what_they_say(heavy_tailed: np.ndarray) -> None:
    span = percentile_range(histogram(heavy_tailed), 99.0)
    outside = ((heavy_tailed < span.low) | (heavy_tailed > span.high)).mean()
    assert outside == pytest.approx(0.01, rel=0.2)


def test_uniform_values_are_covered_whole() -> None:
    values = np.random.default_rng(0).uniform(-1, 3, 100_000).astype(np.float32)
    chosen = choose_range(histogram(values))
    assert chosen.span.low == pytest.approx(-1, abs=0.1)
    assert chosen.span.high == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("constant", [-4_200_000.0, -1e9, 1e5])
def test_a_constant_that_is_no_data_sets_no_scale(constant: float) -> None:
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    values[::10] = constant
    inner = data_range(histogram(values))
    assert inner is not None
    width = abs(constant) / 1000
    assert max(abs(inner.low), abs(inner.high)) < width


def test_ordinary_outliers_are_data(heavy_tailed: np.ndarray) -> None:
    assert data_range(histogram(heavy_tailed)) is None


def test_histograms_of_two_halves_merge(heavy_tailed: np.ndarray) -> None:
    span = Range(-5.0, 5.0)
    whole, first, second = (HistogramObserver(span) for _ in range(3))
    whole.update(heavy_tailed)
    first.update(heavy_tailed[:777].reshape(7, 111))
    second.update(heavy_tailed[777:])
    np.testing.assert_array_equal(first.merge(second).counts, whole.counts)
    with pytest.raises(ValueError, match="one interval"):
        first.merge(HistogramObserver(Range(0.0, 1.0)))


def test_channels_of_two_halves_merge() -> None:
    values = np.random.default_rng(0).normal(size=(40, 5, 3, 3)).astype(np.float32)
    whole, first, second = (MinMaxObserver(1) for _ in range(3))
    whole.update(values)
    first.update(values[:7])
    second.update(values[7:])
    for merged, exact in zip(first.merge(second).channels(), whole.channels(), strict=True):
        np.testing.assert_array_equal(merged, exact)
    assert first.merge(MinMaxObserver(1)).range() == first.range()


def test_channels_that_vary_in_number_become_one_range() -> None:
    observer = MinMaxObserver(1)
    observer.update(np.ones((2, 3), np.float32))
    observer.update(-np.ones((2, 4), np.float32))
    assert observer.channels()[0].shape == ()
    assert observer.range() == Range(-1.0, 1.0)
