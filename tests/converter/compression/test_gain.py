"""What a candidate is kept for."""

from __future__ import annotations

import pytest

from converter.compression.gain import Gain, check_preference
from quantizers.options import Prefer
from runtimes.errors import DataError


@pytest.mark.parametrize(
    ("share", "faster", "slower", "kept_for"),
    [
        (0.5, True, False, {"balanced", "speed", "size"}),
        (0.5, False, False, {"balanced", "size"}),
        (0.5, False, True, {"size"}),
        (1.0, True, False, {"balanced", "speed"}),
        (1.2, True, False, {"balanced", "speed"}),
        (1.0, False, False, set()),
        (0.5, True, True, {"size"}),  # faster at one batch size, slower at another
    ],
)
@pytest.mark.parametrize("prefer", ["balanced", "speed", "size"])
def test_what_counts(
    prefer: Prefer, share: float, faster: bool, slower: bool, kept_for: set[str]
) -> None:
    gain = Gain(share, ((1, 1.0),), faster, slower, prefer)
    assert gain.pays == (prefer in kept_for)
    assert (gain.verdict == str(gain)) == gain.pays


def test_reasons_name_what_was_missed() -> None:
    def verdict(prefer: Prefer, slower: bool = False) -> str:
        return Gain(1.0, ((1, 1.0),), False, slower, prefer).verdict.partition(":")[0]

    assert verdict("balanced") == "neither smaller nor faster"
    assert verdict("speed") == "no faster"
    assert verdict("size", slower=True) == "no smaller"
    assert verdict("balanced", slower=True) == "slower here"


def test_another_preference_is_refused() -> None:
    with pytest.raises(DataError, match="'small': prefer one of balanced, speed, size"):
        check_preference("small")


def test_what_is_predicted_is_not_said_as_if_it_were_raced() -> None:
    measured = Gain(0.5, ((1, 2.0),), True, False)
    assert str(measured) == "0.50× the size, 2.00× as fast"
    predicted = Gain(0.5, ((1, 2.0),), True, False, is_predicted=True)
    assert str(predicted) == "0.50× the size, about 2.00× as fast as before by the cost table"
