"""Which requests are looked at: as many as a share of their own cost pays for.

Each request earns ``budget`` of what it cost, each observation spends what it cost, as measured.
Time earns, too, a little: on a server that is hardly used nobody minds a hundredth of a core. In
quiet times half of the earnings are spent until half of what may be saved is there, and then nearly
all; at the start and under suspicion what was saved is spent on every request until it is
gone. So over any stretch watching costs at most ``budget`` of the requests' seconds, what time
earned, and the savings; and a drift is looked at closely from its first sign on.

Requests are chosen by a counter, not by chance: request n is looked at where the fractional part of
n times the golden ratio is below the share. That is as even as can be on every stretch and has no
period, so traffic that alternates is not seen from one side only (Weyl, 1916; Knuth, The Art of
Computer Programming 3, 6.4). It looks at nothing in the request, which the tests rely on.
"""

from __future__ import annotations

_GOLDEN, _MASK, _ONE = 0x9E3779B97F4A7C15, 2**64 - 1, 2.0**64
_QUIET, _FULL = 0.5, 0.95  # of the earnings are spent while nothing is suspected: saving, saved
_ENOUGH = 0.5  # of the bound: a drift is known after a tenth of a second
_RECENT = 0.1  # weight of the newest cost in the mean
_OUTLIER = 4.0
_LEAST_SHARE = 1e-4  # so that the costs themselves are measured again now and then


class Sampling:
    """A purse and a counter.

    Attributes:
        eager: Whether every request is looked at while the purse lasts: at the start, and as long
            as something is suspected.
        requests: That were asked about.
        spent: CPU seconds in all.
    """

    def __init__(self, budget: float, burst_seconds: float) -> None:
        self._budget, self._bound = budget, burst_seconds
        self._purse = burst_seconds
        self._income = self._by_time = 0.0
        self._deposited_at = 0
        self._cost: float | None = None
        self._threshold = _MASK
        self.eager = True
        self.requests = 0
        self.spent = 0.0

    def wants(self) -> bool:
        """Whether this request is to be looked at; below a microsecond."""
        self.requests = number = self.requests + 1
        self._purse = purse = min(self._purse + self._income, self._bound)
        if purse <= 0:
            return False
        return self.eager or (number * _GOLDEN & _MASK) < self._threshold

    def cost_of_request(self, seconds: float) -> None:
        """Note what a request took that was looked at: it stands for those that were not."""
        earned = self._budget * max(seconds, 0.0)
        self._income = earned if not self._income else _mixed(self._income, earned)
        self._adjust()

    def deposit(self, seconds: float) -> None:
        """Add what time has earned since the last deposit; requests since then share it."""
        self._purse = min(self._purse + seconds, self._bound)
        requests = self.requests - self._deposited_at
        self._deposited_at = self.requests
        if requests:
            self._by_time = _mixed(self._by_time, seconds / requests)
            self._adjust()

    def spend(self, seconds: float, observations: int = 1) -> None:
        """Take from the purse what some observations cost; none: what comes on top of them."""
        self._purse -= seconds
        self.spent += seconds
        if not observations:
            return
        each = seconds / observations
        if self._cost is not None:  # one that was held up says little of the next
            each = _mixed(self._cost, min(each, _OUTLIER * self._cost))
        self._cost = each
        self._adjust()

    @property
    def at_ease(self) -> bool:
        """Whether more than half of what may be saved is there: the rest is for suspicion."""
        return self._purse > _ENOUGH * self._bound

    @property
    def share(self) -> float:
        """The share of the requests that is looked at in quiet times."""
        return self._threshold / _ONE

    @property
    def seconds_of_requests(self) -> float:
        """About how long all requests took, as those that were looked at say."""
        return self.requests * self._income / self._budget

    def _adjust(self) -> None:
        if self._cost:
            spent = _FULL if self._purse >= _ENOUGH * self._bound else _QUIET
            earned = self._income + self._by_time
            share = min(1.0, max(_LEAST_SHARE, spent * earned / self._cost))
            self._threshold = min(_MASK, int(share * _ONE))


def _mixed(mean: float, newest: float) -> float:
    return mean + _RECENT * (newest - mean)
