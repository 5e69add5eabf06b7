"""Other data judge: ever more is left until they take it, then what lies between."""

from __future__ import annotations

import pytest

from converter.pruning.search.bracket import Bracket


def judged(first: float, limit: float) -> list[tuple[float, bool]]:
    """The shares that are tried, where data take what leaves ``limit`` at least."""
    bracket, share, found = Bracket(), first, list[tuple[float, bool]]()
    while True:
        held = share >= limit
        found.append((share, held))
        bracket = bracket.holds(share) if held else bracket.refuses(share)
        wanted = bracket.wanted
        if wanted is None:
            return found
        assert bracket.has_between(wanted)
        share = wanted


def test_what_holds_at_once_is_taken() -> None:
    assert judged(0.3, 0.2) == [(0.3, True)]


@pytest.mark.parametrize("limit", [0.31, 0.4, 0.55, 0.8])
def test_it_ends_near_the_limit(limit: float) -> None:
    tried = judged(0.3, limit)
    best = min(share for share, held in tried if held)
    assert limit <= best <= limit / 0.85
    assert len(tried) <= 9


def test_where_nothing_holds_it_ends() -> None:
    tried = judged(0.3, 2.0)
    assert not any(held for _, held in tried)
    assert len(tried) < 6
