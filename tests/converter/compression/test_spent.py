"""Which share of the budget a candidate takes, whatever the budget is of."""

from __future__ import annotations

import math
from typing import Any

import pytest

from converter.compression.spent import judged, most_spent
from runtimes.parity.budget import Budget
from runtimes.parity.report import ParityReport
from runtimes.parity.stress_report import RungParity, StressReport
from runtimes.parity.verdict import MetricParity

TOP1 = Budget(metric="top1", max_drop=0.01)


def parity(
    *, passed: bool = True, rungs: tuple[RungParity, ...] = (), **metric: Any
) -> ParityReport:
    metrics = (MetricParity("top1", "cpu", 0.9, 0.9, **metric),) if metric else ()
    stress = StressReport.of(rungs, (), 500) if rungs else None
    return ParityReport(passed, "why", "a", "b", 500, (), metrics, (), stress=stress)


def test_a_metric_takes_its_share_and_tells_how_sure_that_is() -> None:
    found = judged(parity(drop=0.004, low=-0.00188, high=0.00988), TOP1)
    assert found.spent == pytest.approx(0.4)
    assert found.deviation == pytest.approx(0.3)


def test_a_gain_takes_nothing() -> None:
    found = judged(parity(drop=-0.002, low=-0.006, high=0.002), TOP1)
    assert found.spent is not None
    assert found.spent < 0


def test_nothing_allowed_is_spent_by_any_loss() -> None:
    none = Budget(metric="top1", max_drop=0.0)
    assert judged(parity(drop=0.002, low=-0.002, high=0.004), none).spent == math.inf
    assert judged(parity(drop=0.0, low=-0.002, high=0.002), none).spent == 0.0


def test_a_rung_that_fails_tells_how_far_it_is_outside() -> None:
    rung = RungParity(
        "noise 0.1", "top1", 0.9, 0.85, 0.05, 0.01, 0.01, passed=False, reason="noise 0.1: fell"
    )
    found = judged(parity(passed=False, rungs=(rung,), drop=0.0, low=0.0, high=0.0), TOP1)
    assert not found.passed
    assert found.spent == pytest.approx(4.0)
    assert found.deviation == 0.0


def test_a_rung_that_cannot_be_compared_is_as_far_as_can_be() -> None:
    broken = RungParity("noise 0.1", passed=False, reason="noise 0.1: NaN")
    assert judged(parity(passed=False, rungs=(broken,)), TOP1).spent == math.inf


def test_where_nothing_was_measured_nothing_is_said() -> None:
    found = judged(parity(), TOP1)
    assert found.passed
    assert found.spent is None


def test_perturbed_samples_spend_what_they_lose_of_what_they_may_lose() -> None:
    rungs = (
        RungParity("noise 0.1", "top1", 0.9, 0.895, 0.005, 0.01, 0.01),
        RungParity("gain 0.3", "top1", 0.9, 0.882, 0.018, 0.01, 0.01),
    )
    found = parity(rungs=rungs, drop=0.004, low=0.0, high=0.008)
    assert most_spent(found, TOP1) == pytest.approx(0.9)
    assert most_spent(parity(drop=0.004, low=0.0, high=0.008), TOP1) == pytest.approx(0.4)
    assert most_spent(parity(), TOP1) == 0.0


def test_what_nothing_tells_the_chance_of_spends_nothing() -> None:
    unsure = RungParity("noise 0.1", "top1", 0.9, 0.8, 0.1, 0.01, math.inf)
    assert most_spent(parity(rungs=(unsure,)), TOP1) == 0.0


def test_decibels_are_spent_as_noise() -> None:
    rung = RungParity("blur 1", "SQNR", None, 22.0, None, 20.0, 1.0)
    assert most_spent(parity(rungs=(rung,)), TOP1) == pytest.approx(10**-0.3)
