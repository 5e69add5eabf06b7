"""The best bet against everything near a reference: Huber's clipped likelihood ratio.

The null hypothesis is composite: all distributions P over K bins of which at most ε lies above a
bound V, that is Σ(P(k) − V(k))⁺ ≤ ε. It holds every P within ε in total variation of any R ≤ V.
Against it, a distribution Q is bet on with the factor

    f(k) = min(max(Q(k)/V(k), a), b),

b such that Σ(Q(k)/b − V(k))⁺ = ε, and a such that Σ min(Q(k)/a, V(k)) = 1 − ε. Where Q itself is in
the null, f = 1: nothing is bet, and nothing is lost.

*Nothing is won in expectation under the null.* With P ≤ V + (P − V)⁺ and a ≤ f ≤ b,

    Σ P·f = a + Σ P·(f − a) ≤ a + Σ V·(f − a) + ε·(b − a) = Z,

and Z = 1 for these a and b. The factor is divided by Z all the same, so that rounding cannot make
it unfair. f = Q/P* with P* the null's nearest element to Q, so no other bet grows faster if Q is
true (Larsson, Ramdas, Ruf: The numeraire e-variable and reverse information projection, 2024). The
clipping is that of Huber (A robust version of the probability ratio test, Ann. Math. Stat. 36,
1965).
"""

from __future__ import annotations

import numpy as np

from runtimes.base import Array

_TINY = 1e-12


def clipped_ratio(bet: Array, bound: Array, tolerance: Array) -> Array:
    """The factors f, ``[…, bins]``.

    Args:
        bet: Q; sums to one along the last axis.
        bound: V, of which no more than ``tolerance`` is exceeded under the null.
        tolerance: ε, ``[…]``.
    """
    bet, bound = np.broadcast_arrays(bet, bound)
    slack = np.broadcast_to(np.asarray(tolerance), bet.shape[:-1])
    factors = np.ones_like(bet)
    outside = is_outside(bet, bound, slack)
    if outside.any():
        factors[outside] = _clipped(
            bet[outside], np.maximum(bound[outside], _TINY), slack[outside, None]
        )
    return factors


def is_outside(bet: Array, bound: Array, tolerance: Array) -> Array:
    """Whether a distribution is not in the null: only then there is something to bet on."""
    return np.asarray(np.maximum(bet - bound, 0.0).sum(axis=-1) > tolerance)


def _clipped(bet: Array, bound: Array, slack: Array) -> Array:
    """The factors where the bet is outside of the null."""
    ratio = bet / bound
    order = np.argsort(-ratio, axis=-1)
    bets = np.cumsum(np.take_along_axis(bet, order, -1), axis=-1)
    bounds = np.cumsum(np.take_along_axis(bound, order, -1), axis=-1)
    highest = (bets / np.maximum(bounds + slack, _TINY)).max(axis=-1, keepdims=True)
    room = 1 - slack - bounds
    with np.errstate(divide="ignore", invalid="ignore"):
        lows = np.where(room > _TINY, np.maximum(1 - bets, 0.0) / room, np.inf)
        first = np.where(slack < 1 - _TINY, 1 / np.maximum(1 - slack, _TINY), np.inf)
    lowest = np.minimum(lows.min(axis=-1, keepdims=True), first)
    lowest = np.minimum(lowest, highest)
    factors = np.clip(ratio, lowest, highest)
    fair = worst_case(factors, bound, lowest, highest, slack)
    return np.asarray(factors / np.maximum(fair, _TINY))


def worst_case(factors: Array, bound: Array, low: Array, high: Array, slack: Array) -> Array:
    """Z, an upper bound of what the factors give in expectation under the null; keeps the axis."""
    above = (bound * (factors - low)).sum(axis=-1, keepdims=True)
    return np.asarray(low + above + slack * (high - low))
