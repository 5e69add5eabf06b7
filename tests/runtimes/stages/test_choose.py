"""The cut is the best there is: found by trying all of them."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import DataError
from runtimes.stages.choose import TOLERANCE, Segments, choose_places


def segments(times: list[float], weights: list[int], moved: list[int]) -> Segments:
    """One node between neighbouring places, and no weights that two of them share."""
    until, held = np.cumsum([0, *times]), np.cumsum([0, *weights])
    seconds = (until[None, :] - until[:, None]).astype(np.float64)
    bytes_ = np.where(np.triu(np.ones_like(seconds), 1) > 0, held[None, :] - held[:, None], np.inf)
    return Segments(seconds, bytes_, [0, *moved, 0])


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=7
    ),
    st.integers(2, 4),
)
def test_no_cut_is_better(nodes: list[tuple[int, int, int]], count: int) -> None:
    times, weights, moved = (list(column) for column in zip(*nodes, strict=True))
    found = segments([float(time) for time in times], weights, moved[:-1])
    if count > len(nodes):
        with pytest.raises(DataError, match=f"{len(nodes)} stages at most"):
            choose_places(found, stages=count)
        return

    def slowest(cut: tuple[int, ...]) -> float:
        ends = [0, *cut, found.places - 1]
        return max(found.seconds[a, b] for a, b in pairwise(ends))

    def crossing(cut: tuple[int, ...]) -> float:
        return sum(found.crossing[place] for place in cut)

    cuts = list(combinations(range(1, found.places - 1), count - 1))
    least = min(map(slowest, cuts))
    chosen = tuple(choose_places(found, stages=count))
    assert len(chosen) == count - 1
    assert slowest(chosen) <= least * (1 + TOLERANCE) + 1e-9
    balanced = [cut for cut in cuts if slowest(cut) <= least * (1 + TOLERANCE)]
    assert crossing(chosen) == min(map(crossing, balanced))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=7), st.integers(9, 30))
def test_there_are_as_few_stages_as_the_weights_allow(weights: list[int], most: int) -> None:
    found = segments([1.0] * len(weights), weights, [1] * (len(weights) - 1))
    ends = [0, *choose_places(found, max_bytes=most), found.places - 1]
    for first, last in pairwise(ends):
        assert sum(weights[first:last]) <= most
    fewer = len(ends) - 2
    for cut in combinations(range(1, found.places - 1), fewer - 1) if fewer else ():
        tried = [0, *cut, found.places - 1]
        assert any(sum(weights[a:b]) > most for a, b in pairwise(tried))


def test_what_cannot_be_is_said() -> None:
    found = segments([1.0, 1.0, 1.0], [5, 70, 5], [1, 1])
    with pytest.raises(DataError, match=r"fewer than 70 bytes.*max_bytes is 69"):
        choose_places(found, max_bytes=69)
    with pytest.raises(DataError, match="2 stages cannot hold"):
        choose_places(segments([1.0] * 3, [5, 5, 5], [1, 1]), stages=2, max_bytes=5)
