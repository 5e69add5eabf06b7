"""What watching costs, and that it sees all sides of the traffic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.monitor.sampling import Sampling


def served(sampling: Sampling, requests: int, *, takes: float, costs: float) -> list[int]:
    """The numbers of the requests that were looked at."""
    looked_at = []
    for request in range(requests):
        if sampling.wants():
            looked_at.append(request)
            sampling.cost_of_request(takes)
            sampling.spend(costs)
    return looked_at


@given(
    budget=st.floats(0.001, 0.2),
    burst=st.floats(0.001, 1),
    takes=st.floats(1e-5, 1e-2),
    costs=st.floats(1e-5, 1e-1),
    eager=st.booleans(),
)
def test_no_more_is_spent_than_earned_and_saved(
    budget: float, burst: float, takes: float, costs: float, eager: bool
) -> None:
    sampling = Sampling(budget, burst)
    sampling.eager = eager
    served(sampling, 2000, takes=takes, costs=costs)
    assert sampling.spent <= burst + budget * takes * 2000 + costs + 1e-9


def test_what_is_cheap_is_looked_at_every_time() -> None:
    sampling = Sampling(0.05, 1.0)
    sampling.eager = False
    assert len(served(sampling, 1000, takes=1e-3, costs=1e-6)) > 990


def test_in_quiet_times_half_of_the_earnings_are_saved_until_the_purse_is_full() -> None:
    sampling = Sampling(0.05, 1.0)
    sampling.spend(0.9, 0)
    sampling.eager = False
    saving = served(sampling, 100_000, takes=1e-4, costs=1e-4)
    assert len(saving) == pytest.approx(2500, rel=0.1)
    served(sampling, 400_000, takes=1e-4, costs=1e-4)
    full = served(sampling, 100_000, takes=1e-4, costs=1e-4)
    assert len(full) == pytest.approx(0.95 * 5000, rel=0.1)


def test_time_earns_where_requests_are_few() -> None:
    sampling = Sampling(0.05, 1.0)
    sampling.eager = False
    looked_at = 0
    for _ in range(200):  # seconds of ten short requests
        looked_at += len(served(sampling, 10, takes=1e-5, costs=1e-3))
        sampling.deposit(0.01)
    assert looked_at > 1500


@pytest.mark.parametrize("period", [2, 3, 4, 7, 10, 40])
def test_traffic_that_alternates_is_seen_from_all_sides(period: int) -> None:
    sampling = Sampling(0.05, 0.1)
    sampling.eager = False
    looked_at = np.array(served(sampling, 200_000, takes=1e-4, costs=1e-4))
    sides = np.bincount(looked_at % period, minlength=period)
    assert sides.min() > 0.8 * sides.mean()


def test_suspicion_spends_what_was_saved() -> None:
    sampling = Sampling(0.05, 0.05)
    sampling.eager = False
    served(sampling, 20_000, takes=1e-4, costs=1e-4)
    sampling.eager = True
    looked_at = served(sampling, 400, takes=1e-4, costs=1e-4)
    assert looked_at == list(range(400))
    later = served(sampling, 20_000, takes=1e-4, costs=1e-4)
    assert len(later) < 2 * 0.05 * 20_000  # and then it earns its way


def test_costs_stand_for_the_requests_that_were_not_looked_at() -> None:
    sampling = Sampling(0.05, 0.1)
    sampling.eager = False
    served(sampling, 10_000, takes=2e-4, costs=1e-4)
    assert sampling.seconds_of_requests == pytest.approx(2.0)


def test_one_that_was_held_up_does_not_end_the_watching() -> None:
    sampling = Sampling(0.05, 10.0)
    sampling.eager = False
    served(sampling, 1000, takes=1e-3, costs=1e-4)
    before = sampling.share
    sampling.spend(5.0)
    assert sampling.share > before / 3
