"""Cuts that reach the target, cheapest error first."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.pruning.search.allocation import Cut, allocate

CUTS = st.builds(
    Cut,
    units=st.integers(1, 9),
    ratio=st.floats(0.3, 1.1),
    error=st.floats(1e-6, 1.0),
)


def total(chosen: list[Cut | None]) -> tuple[float, float]:
    ratio = math.prod(cut.ratio for cut in chosen if cut)
    return ratio, sum(cut.error for cut in chosen if cut)


def test_the_group_that_minds_less_is_cut() -> None:
    groups = [[Cut(1, 0.8, 0.5)], [Cut(2, 0.8, 0.1)]]
    assert allocate(groups, 0.85) == [None, groups[1][0]]


def test_a_deeper_cut_of_one_group_or_a_shallow_one_of_two() -> None:
    shallow, deep = Cut(1, 0.8, 0.1), Cut(2, 0.64, 1.0)
    assert allocate([[shallow, deep], [shallow, deep]], 0.65) == [shallow, shallow]
    assert allocate([[shallow, Cut(2, 0.64, 0.15)], [shallow, deep]], 0.65) == [
        Cut(2, 0.64, 0.15),
        None,
    ]


def test_a_cut_that_saves_nothing_is_not_made() -> None:
    assert allocate([[Cut(1, 1.0, 1e-9), Cut(2, 1.02, 0.0)]], 0.5) == [None]
    assert allocate([[], []], 0.5) == [None, None]


def test_what_cannot_be_reached_takes_everything() -> None:
    groups = [[Cut(1, 0.9, 0.1), Cut(2, 0.7, 0.5)], [Cut(1, 0.8, 3.0)]]
    assert allocate(groups, 0.01) == [groups[0][1], groups[1][0]]


@given(
    groups=st.lists(st.lists(CUTS, max_size=4), min_size=1, max_size=4),
    target=st.floats(0.2, 0.95),
)
def test_no_choice_that_saves_as_much_has_less_error(
    groups: list[list[Cut]], target: float
) -> None:
    chosen = allocate(groups, target)
    ratio, error = total(chosen)
    reachable = math.prod(min([1.0, *(cut.ratio for cut in cuts)]) for cuts in groups)
    assert ratio <= max(target, reachable) * (1 + 1e-9)
    for other in itertools.product(*([None, *cuts] for cuts in groups)):
        other_ratio, other_error = total(list(other))
        if other_ratio <= ratio:
            assert other_error >= error - 1e-9


def test_an_impossible_target_is_not_zero() -> None:
    with pytest.raises(ValueError, match="domain"):
        allocate([[Cut(1, 0.5, 0.1)]], 0.0)
