"""The two bounds around a reference, checked by counting all references that could have been."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from runtimes.monitor.bounds import divergence, total_variation, upper_shares

RISK = 0.05


@pytest.mark.parametrize("truth", [0.01, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("samples", [1, 5, 40, 300])
def test_the_bound_of_a_bin_is_below_the_truth_with_no_more_than_its_risk(
    truth: float, samples: int
) -> None:
    counts = np.arange(samples + 1)
    upper = upper_shares(counts / samples, samples, math.log(1 / RISK))
    logs = [
        math.lgamma(samples + 1) - math.lgamma(k + 1) - math.lgamma(samples - k + 1)
        + k * math.log(truth) + (samples - k) * math.log(1 - truth)
        for k in counts.tolist()
    ]  # fmt: skip
    wrong = math.fsum(
        math.exp(log) for log, bound in zip(logs, upper, strict=True) if bound < truth
    )
    assert wrong <= RISK


@pytest.mark.parametrize("truth", [(0.5, 0.5), (0.2, 0.3, 0.5), (0.05, 0.05, 0.9)])
def test_the_distance_of_a_histogram_is_larger_with_no_more_than_its_risk(
    truth: tuple[float, ...],
) -> None:
    samples = 12
    bound = total_variation(np.array([len(truth)]), samples, math.log(1 / RISK))[0]
    wrong = 0.0
    for counts in itertools.product(range(samples + 1), repeat=len(truth)):
        if sum(counts) != samples:
            continue
        log = math.lgamma(samples + 1) + sum(
            k * math.log(p) - math.lgamma(k + 1) for k, p in zip(counts, truth, strict=True)
        )
        distance = sum(abs(k / samples - p) for k, p in zip(counts, truth, strict=True)) / 2
        wrong += math.exp(log) if distance > bound else 0.0
    assert wrong <= RISK


def test_more_samples_bring_both_bounds_nearer() -> None:
    shares = np.array([0.0, 0.1, 0.9])
    few, many = (upper_shares(shares, n, 5.0) for n in (100, 10_000))
    assert (many < few).all()
    assert (many >= shares).all()
    assert total_variation(np.array([3]), 10_000, 5.0) < total_variation(np.array([3]), 100, 5.0)


def test_without_samples_nothing_is_known() -> None:
    assert (upper_shares(np.zeros(4), 0, 5.0) == 1).all()
    assert (total_variation(np.array([4]), 0, 5.0) == 1).all()


def test_divergence_of_equals_is_nothing() -> None:
    shares = np.array([0.0, 0.2, 1.0])
    assert divergence(shares, shares) == pytest.approx(0)
