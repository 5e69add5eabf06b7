"""Constants far from the rest: which set the scale is a matter of what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from quantizers.calibration.far_constants import FarConstant, find_constants
from quantizers.calibration.observers import HistogramObserver, InsideObserver, Range
from runtimes.errors import DataError

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=5000).astype(np.float32)


def found_in(values: np.ndarray[Any, Any]) -> FarConstant | None:
    def observe(observers: Mapping[str, Any]) -> None:
        for one in observers.values():
            for part in np.split(values, 5):
                one.update(part)

    histogram = {"x": HistogramObserver(Range(float(values.min()), float(values.max())))}
    observe(histogram)
    return find_constants(histogram, observe).get("x")


def with_constant(constant: float, every: int) -> np.ndarray[Any, Any]:
    values = DATA.copy()
    values[::every] = constant
    return values


@pytest.mark.parametrize("constant", [-4_200_000.0, -1e9, 1e5, -999.0 * 3, -3.4e38])
def test_the_rest_is_known_exactly(constant: float) -> None:
    values = with_constant(constant, 10)
    found = found_in(values)
    assert found is not None
    rest = values[values != np.float32(constant)]
    assert found.rest == Range(float(rest.min()), float(rest.max()))
    assert found.constant == pytest.approx(constant)
    assert found.share == pytest.approx(0.1)
    assert not found.rare
    assert not found.few_values
    assert "10.00% of it" in str(found)


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, -1e9), (-1.0, 1.0), (3.0, 0.0)])
@pytest.mark.parametrize("every", [2, 10, 4999])
def test_two_values_are_few(values: tuple[float, float], every: int) -> None:
    array = np.full(100_000, values[0], np.float32)
    array[::every] = values[1]
    found = found_in(array)
    assert found is not None
    assert found.few_values
    assert not found.rare  # however rare one of them is


def test_an_outlier_is_rare() -> None:
    values = np.tile(DATA, 10)
    values[7] = 1e6
    found = found_in(values)
    assert found is not None
    assert found.rare


def test_a_constant_may_hide_another_one() -> None:
    values = with_constant(-1e9, 10)
    values[1::10] = -1e4
    found = found_in(values)
    assert found is not None
    assert found.constant == pytest.approx(-1e9)
    assert found.rest.low > -10
    assert found.share == pytest.approx(0.2)


def test_data_alone_hold_none() -> None:
    assert found_in(DATA) is None
    assert found_in(np.zeros(100, np.float32)) is None
    assert found_in(RNG.integers(0, 3, 3000).astype(np.float32)) is None


def test_counts_of_two_halves_merge() -> None:
    span = Range(-1.0, 1.0)
    whole, first, second = (InsideObserver(span) for _ in range(3))
    whole.update(DATA)
    first.update(DATA[:777])
    second.update(DATA[777:])
    merged = first.merge(second)
    assert (merged.total, merged.inside, merged.range()) == (
        whole.total,
        whole.inside,
        whole.range(),
    )
    with pytest.raises(ValueError, match="one interval"):
        first.merge(InsideObserver(Range(0.0, 1.0)))
    with pytest.raises(DataError, match="no values"):
        InsideObserver(span).range()
