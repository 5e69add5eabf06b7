"""Durations as people write them."""

from __future__ import annotations

import pytest

from runtimes.durations import seconds_of
from runtimes.errors import DataError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("0.5m", 30), (45, 45)],
)
def test_what_is_a_time(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 miles", "-3", "0", "1m1h", "nan", 0, float("inf")])
def test_what_is_none(text: str | float) -> None:
    with pytest.raises(DataError, match=r"--time-budget.*such as 90s"):
        seconds_of(text, "--time-budget")
