"""How far the truth may lie from a reference of finitely many samples.

Two statements about the distribution R that a histogram was drawn from, each of which holds with
probability 1 − δ. Shares of a sample in [0, 1] count like yes and no here, so both hold for pixels
and tokens, where one sample falls into several bins. Only samples have to be independent.

- Every bin: R(k) ≤ U(k), with N·kl(p̂(k), U(k)) = log(1/δ), Chernoff's bound in the form of
  Hoeffding (Probability inequalities for sums of bounded random variables, JASA 58, 1963, theorem
  1). Where edges are order statistics of the same samples, the mass between two of them is Beta
  distributed and has the same bound. Sharp for concentrated changes: a value never seen before.
- All bins together: TV(p̂, R) ≤ ½√((K−1)/N) + √(log(1/δ)/2N), by McDiarmid's inequality. Sharp for
  changes that are spread over all bins.
"""

from __future__ import annotations

import math

import numpy as np

from runtimes.base import Array

_STEPS = 50  # of bisection: far below the rounding of a share


def upper_shares(shares: Array, samples: int, log_inverse: float) -> Array:
    """The largest probability for which ``shares`` are not too few, by bin.

    ``log_inverse``: log(1/δ) of each single bin.
    """
    if samples < 1:
        return np.ones_like(shares)
    low, high = shares.astype(np.float64), np.ones_like(shares, np.float64)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        allowed = samples * divergence(shares, middle) <= log_inverse
        low, high = np.where(allowed, middle, low), np.where(allowed, high, middle)
    return high


def total_variation(bins: Array, samples: int, log_inverse: float) -> Array:
    """How far a histogram of ``bins`` may lie from the truth, in total variation.

    ``log_inverse``: log(1/δ) of each histogram.
    """
    if samples < 1:
        return np.ones(bins.shape)
    spread = 0.5 * np.sqrt((bins - 1) / samples)
    return np.asarray(np.minimum(1.0, spread + math.sqrt(log_inverse / (2 * samples))))


def divergence(first: Array, second: Array) -> Array:
    """Kullback-Leibler divergence of two Bernoulli distributions, in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ones = np.where(first > 0, first * np.log(first / second), 0.0)
        zeros = np.where(first < 1, (1 - first) * np.log((1 - first) / (1 - second)), 0.0)
    return np.asarray(ones + zeros)
