"""The factor of a bet: fair against everything in the null, and the best one there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.monitor.clipped_ratio import clipped_ratio

Array = np.ndarray[Any, np.dtype[Any]]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, Array, float]:
    bins = draw(st.integers(2, 6))
    weights = st.lists(st.floats(0, 1), min_size=bins, max_size=bins)
    bet = np.array(draw(weights)) + 1e-6
    truth = np.array(draw(weights)) + 1e-9
    truth /= truth.sum()
    above = np.array(draw(weights)) * draw(st.floats(0, 2))
    tolerance = draw(st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
    return bet / bet.sum(), np.minimum(1, truth * (1 + above)), tolerance


def worst_mean(factors: Array, bound: Array, tolerance: float) -> float:
    """The largest mean under any P with Σ(P − V)⁺ ≤ ε: a linear program, solved greedily.

    As much as may lie above the bound goes where the factor is largest, the rest fills the bound.
    """
    order = np.argsort(-factors)
    left = 1 - min(1.0, tolerance)
    mean = (1 - left) * factors[order[0]]
    for place in order:
        part = min(left, bound[place])
        mean += part * factors[place]
        left -= part
    assert left < 1e-6  # the bound holds a distribution
    return float(mean)


@given(cases())
def test_nothing_in_the_null_wins(case: tuple[Array, Array, float]) -> None:
    bet, bound, tolerance = case
    factors = clipped_ratio(bet, bound, np.array(tolerance))
    assert worst_mean(factors, bound, tolerance) <= 1 + 1e-6


@given(cases())
def test_what_is_in_the_null_is_not_bet_on(case: tuple[Array, Array, float]) -> None:
    bet, bound, tolerance = case
    outside = np.maximum(bet - bound, 0).sum() > tolerance
    factors = clipped_ratio(bet, bound, np.array(tolerance))
    assert outside or (factors == 1).all()
    growth = (bet * np.log(np.maximum(factors, 1e-300))).sum()
    assert growth >= -1e-6


@given(cases(), st.integers(0, 2**32 - 1))
def test_no_other_fair_bet_grows_faster(case: tuple[Array, Array, float], seed: int) -> None:
    bet, bound, tolerance = case
    factors = clipped_ratio(bet, bound, np.array(tolerance))
    other = np.random.default_rng(seed).exponential(size=bet.size)
    other /= max(worst_mean(other, bound, tolerance), 1e-12)
    mine = (bet * np.log(np.maximum(factors, 1e-300))).sum()
    assert (bet * np.log(np.maximum(other, 1e-300))).sum() <= mine + 1e-6


def test_rows_are_independent() -> None:
    rng = np.random.default_rng(0)
    bets, bounds = rng.dirichlet(np.ones(5), (3, 4)), rng.dirichlet(np.ones(5), (3, 4)) * 1.2
    tolerances = rng.uniform(0, 0.1, (3, 4))
    together = clipped_ratio(bets, bounds, tolerances)
    for place in np.ndindex(3, 4):
        alone = clipped_ratio(bets[place], bounds[place], tolerances[place])
        assert together[place] == pytest.approx(alone)


def test_concentrated_drift_pays_the_inverse_of_what_is_tolerated() -> None:
    bet, bound = np.array([0.0, 1.0]), np.array([1.0, 0.02])
    assert clipped_ratio(bet, bound, np.array(0.08))[1] == pytest.approx(10)
