"""A test of one group of features that may be looked at after every request.

**E-process.** For each feature, past observations give a distribution Q that is bet on; the next
observation multiplies the wealth by its factor (``clipped_ratio``), which is 1 or less in
expectation as long as the truth is within the tolerance of the reference. By Ville's inequality
such wealth ever exceeds 1/α with probability α at most, however often it is looked at (Waudby-Smith
and Ramdas, Estimating means of bounded random variables by betting, arXiv 2010.09686).

**Drift may begin late.** A bet is begun at every observation s with a share π(s) of the capital
(Σπ ≤ 1), all of them with the same factors, so that the whole is S ← f·(S + π(s)). It is a mixture
and so an e-process; a change after s observations costs log(1/π(s)), little more than log s, and
not what was lost before. (Shin, Ramdas, Rinaldo, E-detectors, arXiv 2203.03532, leave the shares
out and bound the mean time to a false alarm instead.)

**Experts.** Q is a mean of the past that forgets, over 16 and over 256 observations, bet against
each of the two bounds of ``runtimes.monitor.bounds``: four wealths, averaged. Features are averaged
by their weights. Every mean of e-processes is one.

An observation is a request. Several samples in one request are averaged first, which needs no
independence between them; nor does the average over features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.monitor.bounds import total_variation, upper_shares
from runtimes.monitor.clipped_ratio import clipped_ratio, is_outside

HORIZONS = (16.0, 256.0)
_MOST_AT_ONCE = 8  # observations between two looks at what to bet on
_PRIOR = 2.0  # observations that the reference counts for in what is bet on
_UNSEEN = 0.1  # of that, spread evenly: bins that the reference never saw can be bet on
_TAIL = 1.1
_ZETA = 10.584448464950809  # Riemann's zeta at 1.1
_LEAST = 1e-300


@dataclass(frozen=True)
class Null:
    """What counts as no drift: for each of two bounds V ``[2, features, bins]`` and ε ``[2, …]``.

    ``prior``: the reference's shares; ``used``: bins that can occur, ``[features, bins]``.
    """

    bounds: Array
    tolerances: Array
    prior: Array
    used: Array


def null_of(
    shares: Array, used: Array, harmless: Array, *, samples: int, tolerance: float, risk: float
) -> Null:
    """The null hypothesis around a reference.

    Args:
        shares: The reference's, ``[features, bins]``.
        used: Which bins can occur, of that shape.
        harmless: Bins of which any share is fine, of that shape.
        samples: That the reference was measured on.
        tolerance: Total variation that is no drift.
        risk: Probability δ that some bound is wrong, over all features.
    """
    features = len(shares)
    each = np.log(2 * features * used.sum(axis=1, keepdims=True) / risk)
    upper = upper_shares(shares, samples, each)
    spread = total_variation(used.sum(axis=1), samples, math.log(2 * features / risk))
    bounds = np.stack([np.where(harmless, 1.0, upper), np.where(harmless, 1.0, shares)])
    bounds = np.where(used, bounds, 0.0)
    tolerances = np.stack([np.full(features, tolerance), np.minimum(1.0, tolerance + spread)])
    even = used / used.sum(axis=1, keepdims=True)
    return Null(bounds, tolerances, (1 - _UNSEEN) * shares + _UNSEEN * even, used)


@dataclass(frozen=True)
class Evidence:
    """What a test knows now.

    Attributes:
        alpha: The probability of a false alarm that it was given.
        threshold: The wealth, 1/α, at which it alarms.
        wealth: Its wealth now, and the largest since the start.
        peak: The largest wealth so far.
        observations: Requests it has seen since it was started or restarted.
        first_alarm: The observation at which the threshold was reached, None before.
        since: Since which observation the leading feature drifts, as far as can be told.
        leading: Features by what each has won: position, and log of its wealth.
    """

    alpha: float
    threshold: float
    wealth: float
    peak: float
    observations: int
    first_alarm: int | None
    since: int
    leading: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class _Bets:
    """Where Q is ``outside`` of the null, ``[horizons, bounds, features]``, and the bets there.

    ``horizon``, ``feature``: where each bet belongs. ``bets``, ``factors``: its Q and its f,
    ``[…, bins]``.
    """

    outside: Array
    horizon: Array
    feature: Array
    bets: Array
    factors: Array


_UNKNOWN = object()  # what to bet on has not been worked out since something was learnt


class SequentialTest:
    """One e-process over the features of a group."""

    def __init__(self, null: Null, alpha: float, weights: Array | None = None) -> None:
        self._null, self.alpha = null, alpha
        features = len(null.prior)
        even = np.full(features, 1 / features)
        self._weights = even if weights is None else weights / weights.sum()
        self._keep = np.array([1 - 1 / horizon for horizon in HORIZONS])
        self._next: object = _UNKNOWN
        self.forget()

    @property
    def features(self) -> int:
        """How many it watches."""
        return len(self._null.prior)

    def forget(self) -> None:
        """Begin as if nothing had been seen."""
        self._counts = np.zeros((len(HORIZONS), *self._null.prior.shape))
        self._mass = np.zeros(len(HORIZONS))
        self._next = _UNKNOWN
        self.restart()

    def restart(self) -> None:
        """Begin with a new capital; what was learnt to bet on stays."""
        shape = (len(HORIZONS), len(self._null.bounds), self.features)
        self._log = np.full(shape, -np.inf)
        self._climb = np.zeros(shape)
        self._since = np.ones(shape, np.int64)
        self.observations = 0
        self.peak = -math.inf
        self.first_alarm: int | None = None

    def update(self, shares: Array) -> None:
        """Add observations in their order, ``[requests, features, bins]``.

        What is bet on is fixed before each few of them: fewer at a time react sooner.
        """
        for start in range(0, len(shares), _MOST_AT_ONCE):
            self._update(shares[start : start + _MOST_AT_ONCE])

    def _update(self, shares: Array) -> None:
        bets = self._bets()
        if bets is not None:
            self._advance(self._gains(shares, bets))
        else:  # as long as nothing drifts there is mostly nothing to bet on
            self._wait(len(shares))
        self._learn(shares)

    def promise(self) -> float:
        """Log of what a bet would win, were what it remembers seen once more: a hint, no proof.

        It says after one look what ``climb`` says after two.
        """
        bets = self._bets()
        if bets is None:
            return 0.0
        gains = (bets.bets * np.log(np.maximum(bets.factors, _LEAST))).sum(axis=-1)
        return float((self._mass[bets.horizon] * gains).max())

    def _bets(self) -> _Bets | None:
        """What to bet on next; None where what was seen of late is no drift."""
        if self._next is _UNKNOWN:
            self._next = self._new_bets()
        return self._next  # type: ignore[return-value]

    def _new_bets(self) -> _Bets | None:
        seen, null = self._seen_of_late()[:, None], self._null
        outside = is_outside(seen, null.bounds, null.tolerances)
        if not outside.any():
            return None
        horizon, bound, feature = np.nonzero(outside)
        chosen = seen[horizon, 0, feature]
        factors = clipped_ratio(
            chosen, null.bounds[bound, feature], null.tolerances[bound, feature]
        )
        return _Bets(outside, horizon, feature, chosen, factors)

    @staticmethod
    def _gains(shares: Array, bets: _Bets) -> Array:
        """Logs of what each wealth is multiplied by, ``[requests, horizons, bounds, features]``."""
        won = np.einsum("nmk,mk->nm", shares[:, bets.feature], bets.factors)
        gains = np.zeros((len(shares), *bets.outside.shape))
        gains[:, bets.outside] = np.log(np.maximum(won, _LEAST))
        return gains

    def _seen_of_late(self) -> Array:
        """Q by horizon: what was seen of late, next to a little of the reference."""
        total = (self._mass + _PRIOR)[:, None, None]
        return np.asarray((self._counts + _PRIOR * self._null.prior) / total)

    def _learn(self, shares: Array) -> None:
        self._next = _UNKNOWN
        if len(shares) == 1:
            self._counts = self._counts * self._keep[:, None, None] + shares[0]
            self._mass = self._mass * self._keep + 1
            return
        age = np.arange(len(shares))[::-1]
        weights = self._keep[:, None] ** age
        fade = self._keep ** len(shares)
        self._counts = self._counts * fade[:, None, None] + np.tensordot(weights, shares, 1)
        self._mass = self._mass * fade + weights.sum(axis=1)

    def _advance(self, gains: Array) -> None:
        """S ← f·(S + π) for each observation, all at once: S times the factors after it."""
        count = len(gains)
        begun = np.array([log_share(self.observations + i + 1) for i in range(count)])
        path = np.cumsum(gains, axis=0)
        before = np.concatenate([np.zeros_like(path[:1]), path[:-1]])
        parts = np.concatenate([self._log[None], begun[:, None, None, None] - before])
        logs = path + np.logaddexp.accumulate(parts, axis=0)[1:]
        self._climbs(path)
        self._log = logs[-1]
        wealth = _log_mean(_mean_of_experts(logs), self._weights)
        reached = wealth >= -math.log(self.alpha)
        place = int(reached.argmax()) if reached.any() else int(wealth.argmax())
        self._note(float(wealth[place]), self.observations + place + 1)
        self.peak = max(self.peak, float(wealth.max()))
        self.observations += count

    def _wait(self, count: int) -> None:
        """The same where every factor is one: what is begun is added."""
        begun = sum(math.exp(log_share(self.observations + i + 1)) for i in range(count))
        self._log = np.logaddexp(self._log, math.log(begun))
        self.observations += count
        self._since[self._climb <= 0] = self.observations + 1

    def _note(self, wealth: float, observation: int) -> None:
        self.peak = max(self.peak, wealth)
        if self.first_alarm is None and wealth >= -math.log(self.alpha):
            self.first_alarm = observation

    def _climbs(self, path: Array) -> None:
        """Note since when each wealth has only been above where it was: since then it drifts."""
        climb = self._climb + path
        lowest = np.minimum(np.minimum.accumulate(climb, axis=0), 0.0)
        at_lowest = climb <= lowest
        last = len(path) - 1 - at_lowest[::-1].argmax(axis=0)
        fallen = at_lowest.any(axis=0)
        self._since = np.where(fallen, self.observations + last + 2, self._since)
        self._climb = climb[-1] - lowest[-1]

    def climb(self) -> float:
        """Log of what the luckiest bet has won since its lowest point: a first sign of drift."""
        return float(self._climb.max(initial=0.0))

    def log_wealth(self) -> float:
        """Log of the mean wealth over experts and features."""
        return float(_log_mean(self._by_feature(), self._weights))

    def _by_feature(self) -> Array:
        return np.asarray(_mean_of_experts(self._log[None])[0])

    def evidence(self, most: int = 5) -> Evidence:
        """Threshold, budget, wealth, the first alarm, and which features lead."""
        won = self._by_feature() if self.observations else np.zeros(self.features)
        wealth = _exp(self.log_wealth()) if self.observations else 0.0
        order = np.argsort(-won, kind="stable")[:most]
        leader = self._log[:, :, order[0]] if len(order) else self._log[:, :, 0]
        since = self._since[:, :, order[0]].reshape(-1)[int(leader.argmax())]
        return Evidence(
            self.alpha,
            1 / self.alpha,
            wealth,
            max(wealth, _exp(self.peak)),
            self.observations,
            self.first_alarm,
            int(since),
            tuple((int(place), float(won[place])) for place in order),
        )

    def recent(self, feature: int) -> Array:
        """The shares of a feature's bins over the last observations, as the shorter memory has."""
        return np.asarray(self._counts[0, feature] / max(self._mass[0], _LEAST))

    def to_dict(self) -> dict[str, Any]:
        """Everything that is not in the reference, as plain JSON values."""
        return {
            "observations": self.observations,
            "first_alarm": self.first_alarm,
            "peak": _finite(self.peak),
            "log": [_finite(one) for one in self._log.reshape(-1).tolist()],
            "climb": self._climb.reshape(-1).tolist(),
            "since": self._since.reshape(-1).tolist(),
            "counts": self._counts.reshape(-1).tolist(),
            "mass": self._mass.tolist(),
        }

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on where ``to_dict`` left off; ``ValueError``, ``KeyError`` or ``TypeError``."""
        found = {
            name: np.array([_infinite(one) for one in state[name]], np.float64).reshape(like.shape)
            for name, like in (("log", self._log), ("climb", self._climb), ("counts", self._counts))
        }
        since = np.array(state["since"], np.int64).reshape(self._since.shape)
        mass = np.array(state["mass"], np.float64).reshape(self._mass.shape)
        observations, first = int(state["observations"]), state["first_alarm"]
        if observations < 0 or np.isnan(found["log"]).any() or not np.isfinite(mass).all():
            raise ValueError("numbers that no test can have")
        if (found["counts"] < 0).any() or not np.isfinite(found["climb"]).all():
            raise ValueError("numbers that no test can have")
        self._log, self._climb, self._counts = found["log"], found["climb"], found["counts"]
        self._since, self._mass = since, mass
        self._next = _UNKNOWN
        self.observations, self.peak = observations, _infinite(state["peak"])
        self.first_alarm = None if first is None else int(first)


def log_share(observation: int) -> float:
    """Log of the share of the capital that is bet from an observation (1 is the first) on.

    Half of it at once, the other half with s to the power of −1.1, whose sum is ζ(1.1).
    """
    later = 0.5 * observation**-_TAIL / _ZETA
    return math.log(later + (0.5 if observation == 1 else 0.0))


def _mean_of_experts(logs: Array) -> Array:
    """Of logs ``[observations, horizons, bounds, features]`` the log of the mean over experts."""
    experts = logs.reshape(len(logs), -1, logs.shape[-1])
    highest = np.maximum(experts.max(axis=1), -1e300)
    return np.asarray(np.log(np.exp(experts - highest[:, None]).mean(axis=1)) + highest)


def _log_mean(logs: Array, weights: Array) -> Array:
    """Log of the weighted mean over the last axis."""
    highest = np.maximum(logs.max(axis=-1), -1e300)
    mean = np.maximum((weights * np.exp(logs - highest[..., None])).sum(axis=-1), _LEAST)
    return np.asarray(np.log(mean) + highest)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _infinite(value: float | None) -> float:
    return -math.inf if value is None else float(value)
