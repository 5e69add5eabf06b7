"""How sure is a difference of two metrics that were measured on the same samples?

Right or wrong answers: the score interval of Tango (Equivalence test and confidence interval for
the difference in proportions for the paired-sample design, Statistics in Medicine 17, 1998), which
holds for few samples and for no differing answer at all, and McNemar's exact test. Everything else:
the paired bootstrap, percentile (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array

_Z = 1.959963984540054  # 97.5% quantile of the normal distribution
_RESAMPLES = 2000
_CHUNK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class Uncertainty:
    """The 95% confidence interval of a drop, and McNemar's two-sided p-value for accuracies."""

    low: float
    high: float
    method: str
    p_value: float | None = None


def paired_proportions(reference: Array, candidate: Array) -> Uncertainty:
    """Of two arrays of zeros and ones, the share of ones in the first minus that in the second."""
    count = len(reference)
    only_reference = int(((reference > 0.5) & (candidate <= 0.5)).sum())
    only_candidate = int(((reference <= 0.5) & (candidate > 0.5)).sum())
    return Uncertainty(
        low=_tango(only_reference, only_candidate, count, -1),
        high=_tango(only_reference, only_candidate, count, 1),
        method="Tango's score interval",
        p_value=mcnemar(only_reference, only_candidate),
    )


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p-value that of ``one + other`` differing pairs so many fall on one side."""
    total = one + other
    if total == 0:
        return 1.0
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        for k in range(min(one, other) + 1)
    ]
    tail = math.fsum(math.exp(log - total * math.log(2)) for log in logs)
    return min(1.0, 2 * tail)


def paired_means(differences: Array, seed: int = 0) -> Uncertainty:
    """The mean of the samples' ``differences`` by bootstrap."""
    count = len(differences)
    rng = np.random.default_rng(seed)
    means = []
    rows = max(1, min(_RESAMPLES, _CHUNK_ELEMENTS // count))
    for start in range(0, _RESAMPLES, rows):
        chosen = rng.integers(0, count, (min(rows, _RESAMPLES - start), count))
        means.append(differences[chosen].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Uncertainty(float(low), float(high), f"paired bootstrap, {_RESAMPLES} resamples")


def paired_statistic(
    drop: Callable[[Array], float], count: int, resamples: int, seed: int = 0
) -> Uncertainty | None:
    """A drop that is no mean, by bootstrap: ``drop`` gives it for samples at some positions.

    A resample on which it has no value (one class only, say) is left out; None where most are.
    """
    rng = np.random.default_rng(seed)
    found = [drop(rng.integers(0, count, count)) for _ in range(resamples)]
    finite = [value for value in found if math.isfinite(value)]
    if len(finite) < resamples / 2:
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return Uncertainty(float(low), float(high), f"paired bootstrap, {len(finite)} resamples")


def samples_needed(drop: float, low: float, high: float, allowed: float, count: int) -> int | None:
    """About how many samples would tell whether the drop is within what is allowed.

    None where it is told already, or where the drop is what is allowed. Intervals shrink with the
    root of the number of samples.
    """
    if not low <= allowed < high:
        return None
    gap = abs(allowed - drop)
    half = high - drop if drop <= allowed else drop - low
    if gap == 0 or half / gap > 1e4:
        return None
    return math.ceil(count * (half / gap) ** 2 * 1.05)


def _tango(one: int, other: int, count: int, side: int) -> float:
    """The end of the interval on ``side``: where the score statistic reaches the quantile."""

    def score(delta: float) -> float:
        a = 2 * count
        b = -one - other + (2 * count - one + other) * delta
        c = -other * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = count * (2 * q + delta * (1 - delta))
        if variance <= 0:
            return 0.0 if one - other == count * delta else math.inf * (one - other - count * delta)
        return (one - other - count * delta) / math.sqrt(variance)

    inside = (one - other) / count
    outside = float(side)
    for _ in range(60):
        middle = (inside + outside) / 2
        if abs(score(middle)) <= _Z:
            inside = middle
        else:
            outside = middle
    return inside
