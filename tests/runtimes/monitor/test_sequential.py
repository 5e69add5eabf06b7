"""The e-process: no more than its capital in expectation, by counting every path there is."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from runtimes.monitor.sequential import SequentialTest, log_share, null_of

Array = np.ndarray[Any, np.dtype[Any]]


def null(shares: Any, samples: int = 500, tolerance: float = 0.05, **options: Any) -> Any:
    shares = np.atleast_2d(np.array(shares, float))
    harmless = options.get("harmless", np.zeros(shares.shape, bool))
    return null_of(
        shares,
        options.get("used", np.ones(shares.shape, bool)),
        harmless,
        samples=samples,
        tolerance=tolerance,
        risk=0.01,
    )


def one_hot(places: Any, bins: int) -> Array:
    return np.eye(bins)[np.array(places)]


def extremes(bound: Array, tolerance: float) -> list[Array]:
    """Distributions at the border of the null: what is above the bound is in one bin."""
    found = []
    for order in itertools.permutations(range(len(bound))):
        left, truth = 1 - tolerance, np.zeros(len(bound))
        truth[order[0]] += tolerance
        for place in order:
            part = min(left, bound[place])
            truth[place] += part
            left -= part
        found.append(truth)
    return found


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("reference", [(0.7, 0.3), (0.5, 0.4, 0.1), (1.0, 0.0)])
def test_the_mean_wealth_never_exceeds_the_capital(reference: tuple[float, ...], step: int) -> None:
    """Over all paths of some observations, under distributions at the border of the null."""
    known = null(reference, samples=2000)
    bins = len(reference)
    length = 6 if bins == 2 else 5
    # The common part of both nulls: what the narrower bound of each bin allows.
    truths = extremes(known.bounds[0, 0], 0.05) if bins == 2 else extremes(known.bounds[0, 0], 0.0)
    means = np.zeros((len(truths), length // step))
    for path in itertools.product(range(bins), repeat=length):
        test = SequentialTest(known, alpha=0.01)
        shares = one_hot(path, bins)[:, None, :]
        chances = np.array([np.prod(truth[list(path)]) for truth in truths])
        for place in range(length // step):
            test.update(shares[place * step : (place + 1) * step])
            means[:, place] += chances * math.exp(test.log_wealth())
    assert (means <= 1 + 1e-9).all()


def test_the_capital_that_is_begun_with_is_whole() -> None:
    assert sum(math.exp(log_share(n)) for n in range(1, 200_000)) <= 1
    assert math.exp(log_share(1)) >= 0.5


def stream(shares: Any, length: int, seed: int) -> Array:
    shares = np.atleast_2d(np.array(shares, float))
    rng = np.random.default_rng(seed)
    places = [rng.choice(shares.shape[1], length, p=row) for row in shares]
    return np.stack([one_hot(one, shares.shape[1]) for one in places], axis=1)


REFERENCE = [[0.25, 0.25, 0.25, 0.25, 0.0]] * 3


def test_what_drifts_is_named_with_the_sample_since_which_it_does() -> None:
    test = SequentialTest(null(REFERENCE), alpha=0.01)
    test.update(stream(REFERENCE, 300, seed=0))
    assert test.first_alarm is None
    drifted = stream(REFERENCE, 100, seed=1)
    drifted[:, 1] = one_hot([4] * 100, 5)
    for row in drifted:
        test.update(row[None])
    found = test.evidence()
    assert found.first_alarm is not None
    assert 300 < found.first_alarm <= 400
    assert found.leading[0][0] == 1
    assert abs(found.since - 301) <= 10
    assert found.threshold == 100
    assert found.peak >= 100


def test_a_drift_within_the_tolerance_is_none_however_long_it_lasts() -> None:
    """No alarm by sample size alone: 20,000 observations a tolerated distance away."""
    test = SequentialTest(null(REFERENCE[:1], samples=100_000, tolerance=0.1), alpha=0.01)
    shifted = [[0.25 + 0.08, 0.25 - 0.08, 0.25, 0.25, 0.0]]
    for part in np.split(stream(shifted, 20_000, seed=2), 200):
        test.update(part)
    assert test.first_alarm is None
    assert test.peak < math.log(10)


def test_a_small_reference_gives_no_false_alarm() -> None:
    """Thirty samples say little; the truth they came from is not a drift from them."""
    rng = np.random.default_rng(3)
    for seed in range(5):
        few = np.stack([rng.multinomial(30, row) for row in REFERENCE]) / 30
        test = SequentialTest(null(few, samples=30), alpha=0.01)
        for part in np.split(stream(REFERENCE, 2000, seed), 50):
            test.update(part)
        assert test.first_alarm is None


def test_only_more_is_worse_where_that_is_said() -> None:
    share = [[0.1, 0.8, 0.1, 0.0]]
    known = null(share, harmless=np.array([[True, True, False, False]]))
    less, more = SequentialTest(known, 0.01), SequentialTest(known, 0.01)
    less.update(one_hot([0] * 1, 4)[:, None])
    for _ in range(100):
        less.update(one_hot([0], 4)[:, None])
        more.update(one_hot([3], 4)[:, None])
    assert less.first_alarm is None
    assert more.first_alarm is not None


def test_dependence_within_a_request_is_no_evidence() -> None:
    """A request of many equal samples is one observation, whatever it repeats."""
    test = SequentialTest(null(REFERENCE[:1]), alpha=0.01)
    rng = np.random.default_rng(4)
    for place in rng.integers(0, 4, 500):
        test.update(one_hot([place] * 32, 5).mean(axis=0)[None, None])
    assert test.first_alarm is None


def test_it_goes_on_where_it_was_saved() -> None:
    first, second = (SequentialTest(null(REFERENCE), 0.01) for _ in range(2))
    seen = stream([[0.1, 0.2, 0.3, 0.3, 0.1]] * 3, 60, seed=5)
    first.update(seen[:30])
    second.take_up(json.loads(json.dumps(first.to_dict(), allow_nan=False)))
    first.update(seen[30:])
    second.update(seen[30:])
    assert first.evidence() == second.evidence()
    assert (first.recent(0) == second.recent(0)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"log": []},
        {"log": ["a"]},
        {"mass": [math.nan, 1.0]},
        {"observations": -1},
        {"counts": None},
        {"since": [0.5]},
    ],
)
def test_a_damaged_state_changes_nothing(change: dict[str, Any]) -> None:
    test = SequentialTest(null(REFERENCE), 0.01)
    test.update(stream(REFERENCE, 10, seed=6))
    before = test.to_dict()
    with pytest.raises((ValueError, TypeError)):
        test.take_up({**before, **change})
    assert test.to_dict() == before


def test_a_bet_promises_before_it_has_won() -> None:
    test = SequentialTest(null([0.99, 0.01]), alpha=0.01)
    test.update(one_hot([0] * 50, 2)[:, None])
    assert test.promise() == 0.0
    test.update(one_hot([1] * 8, 2)[:, None])
    assert test.climb() == 0.0
    assert test.promise() > 3.0
    test.forget()
    assert test.promise() == 0.0


def test_many_observations_at_once_are_bet_on_as_they_come() -> None:
    """What the first of them teach is bet on the others."""
    at_once, one_by_one = (SequentialTest(null([0.99, 0.01]), alpha=0.01) for _ in range(2))
    drift = one_hot([1] * 40, 2)[:, None]
    at_once.update(drift)
    for one in drift:
        one_by_one.update(one[None])
    assert one_by_one.first_alarm is not None
    assert at_once.first_alarm is not None
    assert at_once.first_alarm <= one_by_one.first_alarm + 16


def test_a_restart_begins_with_a_new_capital() -> None:
    test = SequentialTest(null(REFERENCE), 0.01)
    for _ in range(100):
        test.update(one_hot([[4, 4, 4]], 5))
    assert test.first_alarm is not None
    test.restart()
    assert test.first_alarm is None
    assert test.observations == 0
    assert test.evidence().peak == 0
    learnt = test.recent(0)[4]
    assert learnt > 0.9
    test.forget()
    assert test.recent(0)[4] == 0
