"""Intervals of paired differences: known values, and how often they hold the truth."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes import check
from runtimes.metrics.confidence import (
    mcnemar,
    paired_means,
    paired_proportions,
    paired_statistic,
    samples_needed,
)
from runtimes.parity.verdict import FAILED, PASSED, UNSURE


def answers(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    one = [1] * both + [1] * first + [0] * second + [0] * neither
    other = [1] * both + [0] * first + [1] * second + [0] * neither
    return np.array(one, float), np.array(other, float)


def statistic(one: int, other: int, count: int, delta: float) -> float:
    """Tango's score with the constrained likelihood maximized by search, not by formula."""
    q = np.linspace(max(0.0, -delta), (1 - delta) / 2, 400_001)[1:-1]
    likelihood = (
        one * np.log(q + delta)
        + other * np.log(q)
        + (count - one - other) * np.log1p(-2 * q - delta)
    )
    best = q[np.nanargmax(likelihood)]
    return float((one - other - count * delta) / np.sqrt(count * (2 * best + delta - delta**2)))


@pytest.mark.parametrize(("one", "other", "same"), [(1, 9, 34), (4, 2, 100), (20, 3, 11)])
def test_the_ends_of_the_interval_are_where_the_score_is_the_quantile(
    one: int, other: int, same: int
) -> None:
    found = paired_proportions(*answers(same, one, other, 0))
    count = one + other + same
    assert statistic(one, other, count, found.low) == pytest.approx(1.96, abs=0.01)
    assert statistic(one, other, count, found.high) == pytest.approx(-1.96, abs=0.01)


def test_no_differing_answer_is_no_certainty() -> None:
    found = paired_proportions(*answers(50, 0, 0, 0))
    limit = 1.96**2 / (50 + 1.96**2)
    assert (found.low, found.high) == pytest.approx((-limit, limit), abs=1e-4)
    assert found.p_value == 1


def test_mcnemars_test_is_exact() -> None:
    assert mcnemar(9, 1) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 6) == pytest.approx(2 / 64)
    assert mcnemar(3000, 2500) < 1e-10


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60))
def test_intervals_hold_the_estimate_and_turn_with_the_order(one: int, two: int, same: int) -> None:
    first, second = answers(same, one, two, 3)
    found, turned = paired_proportions(first, second), paired_proportions(second, first)
    assert found.low - 1e-9 <= (first - second).mean() <= found.high + 1e-9
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-6)


def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    proportions = means = 0
    for seed in range(200):
        first = rng.random(150) < 0.9
        second = np.where(rng.random(150) < 0.1, rng.random(150) < 0.5, first)
        truth = 0.9 - (0.9 * 0.9 + 0.1 * 0.5)
        found = paired_proportions(first.astype(float), second.astype(float))
        proportions += found.low <= truth <= found.high
        bootstrapped = paired_means(rng.exponential(1.0, 150), seed)
        means += bootstrapped.low <= 1 <= bootstrapped.high
    assert 182 <= proportions <= 200
    assert 178 <= means <= 200


def test_a_statistic_without_values_has_no_interval() -> None:
    assert paired_statistic(lambda places: math.nan, 10, 20) is None
    found = paired_statistic(lambda places: float(places.mean()), 101, 200)
    assert found is not None
    assert found.low < 50 < found.high


def test_how_many_samples_would_do() -> None:
    assert samples_needed(0.0, -0.01, 0.01, 0.02, 100) is None
    needed = samples_needed(0.0, -0.02, 0.02, 0.01, 100)
    assert needed == 420
    assert samples_needed(0.01, 0.0, 0.02, 0.01, 100) is None  # no number would
    assert samples_needed(0.03, 0.005, 0.055, 0.01, 100) == pytest.approx(164, abs=1)


@pytest.mark.parametrize(
    ("samples", "wrong", "allowed", "strict", "passed", "verdict"),
    [
        (2000, 0, 0.01, False, True, PASSED),
        (2000, 0, 0.01, True, True, PASSED),
        (40, 0, 0.01, False, True, UNSURE),
        (40, 0, 0.01, True, False, UNSURE),
        (2000, 400, 0.01, False, False, FAILED),
        (40, 1, 0.01, False, False, UNSURE),
    ],
)
def test_a_budget_says_whether_the_samples_do(
    scaled: Any, graph: Any, samples: int, wrong: int, allowed: float, strict: bool,
    passed: bool, verdict: str,
) -> None:  # fmt: skip
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.float32([-3, -1, 1, 4]), (samples, 1)), axis=1)
    labels = scores.argmax(axis=1)
    scores[:wrong] = 0
    scores[:wrong, 3] = 1e-3  # the candidate drops what is small
    labels[:wrong] = 3
    flattening = graph(
        "g (float[batch, 4] x) => (float[batch, 4] y) <float h = {0.5}>"
        "{ a = Mul(x, h)\n y = Round(a) }"
    )
    report = check(
        scaled(1), flattening, {"x": scores, "labels": labels}, metric="top1", max_drop=allowed,
        strict=strict,
    )  # fmt: skip
    assert (report.passed, report.verdict) == (passed, verdict)
    (metric,) = report.metrics
    assert metric.low is not None
    assert metric.high is not None
    assert metric.low <= metric.drop <= metric.high
    if verdict == UNSURE:
        assert f"{samples} samples are not enough to tell" in report.reason
    if verdict == UNSURE and metric.drop < allowed:
        assert metric.needed is not None
        assert metric.needed > samples
        assert f"about {metric.needed} would do" in report.reason


@pytest.mark.parametrize("metric", ["mse", "auc", "pearson"])
def test_other_metrics_have_intervals_too(graph: Any, metric: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 1)).astype(np.float32)
    labels = x[:, 0] + rng.standard_normal(300)
    if metric == "auc":
        labels = (labels > 0).astype(int)
    same = graph("g (float[n, 1] x) => (float[n, 1] y) { y = Identity(x) }")
    other = graph("g (float[n, 1] x) => (float[n, 1] y) { y = Round(x) }")
    report = check(same, other, {"x": x, "labels": labels}, metric=metric, max_drop=1)
    (found,) = report.metrics
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.drop < found.high
    assert found.method is not None
    assert "bootstrap" in found.method
    again = check(same, other, {"x": x, "labels": labels}, metric=metric, max_drop=1)
    assert again.metrics == report.metrics


def test_one_sample_has_no_interval(scaled: Any) -> None:
    data = {"x": np.float32([[1, 2, 3, 4]]), "labels": np.array([3])}
    report = check(scaled(1), scaled(2), data, metric="top1", max_drop=0.0)
    assert report.passed
    assert report.metrics[0].low is None
    assert report.verdict == UNSURE
    assert "1 sample is not enough to tell" in report.reason
    assert not check(scaled(1), scaled(2), data, metric="top1", max_drop=0.0, strict=True).passed


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_errors_of_nothing_are_no_proportions(graph: Any, metric: str) -> None:
    """Zeros everywhere look like answers that are all wrong, whose share is not known so well."""
    x = np.random.default_rng(0).standard_normal((40, 1)).astype(np.float32)
    same = graph("g (float[n, 1] x) => (float[n, 1] y) { y = Identity(x) }")
    other = graph("g (float[n, 1] x) => (float[n, 1] y) { z = Neg(x) y = Neg(z) }")
    report = check(same, other, {"x": x, "labels": x[:, 0]}, metric=metric, max_drop=0.01)
    (found,) = report.metrics
    assert (found.low, found.drop, found.high) == (0.0, 0.0, 0.0)
    assert report.verdict == PASSED
