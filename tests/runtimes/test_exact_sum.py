"""Sums that are the same however their terms are grouped."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtimes.exact_sum import ExactSums

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def summed(terms: list[float]) -> ExactSums:
    found = ExactSums(1)
    for term in terms:
        found.add(np.array([term]))
    return found


@given(st.lists(FLOATS, max_size=30), st.randoms(use_true_random=False))
def test_any_order_and_grouping_is_the_exact_sum_rounded_once(terms, random) -> None:
    whole = summed(terms)
    try:
        expected = math.fsum(terms)
    except OverflowError:  # fsum gives up where a partial sum does not fit
        expected = float(whole.values()[0])
    assert whole.values()[0] == expected
    shuffled = random.sample(terms, len(terms))
    cut = random.randint(0, len(terms))
    merged = summed(shuffled[:cut])
    merged.absorb(ExactSums.restored(summed(shuffled[cut:]).state()))
    assert merged.values()[0] == whole.values()[0]
    for name, array in whole.state().items():
        np.testing.assert_array_equal(merged.state()[name], array)


def test_columns_are_summed_side_by_side_and_copies_go_on_alone() -> None:
    sums = ExactSums(3)
    sums.add(np.array([1e308, 1e-320, 1.0]))
    copy = sums.copy()
    sums.add(np.array([-1e308, 5e-324, 2.0**-60]))
    assert sums.values().tolist() == [0.0, 1e-320 + 5e-324, 1.0]
    sums.add(np.array([3.0, 0.0, -1.0]))
    assert sums.values().tolist() == [3.0, 1e-320 + 5e-324, 2.0**-60]
    assert copy.values().tolist() == [1e308, 1e-320, 1.0]


def test_what_is_not_finite_sums_up_as_floats_do() -> None:
    sums = ExactSums(3)
    sums.add(np.array([math.inf, 1.0, math.inf]))
    other = ExactSums(3)
    other.add(np.array([2.0, math.nan, -math.inf]))
    sums.absorb(ExactSums.restored(other.state()))
    np.testing.assert_array_equal(sums.values(), [math.inf, math.nan, math.nan])
    sums = summed([1.7e308, 1.7e308])
    assert sums.values()[0] == math.inf
    sums.add(np.array([-1.7e308]))
    assert sums.values()[0] == 1.7e308
