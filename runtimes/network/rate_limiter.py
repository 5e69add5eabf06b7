"""How often each address may do something."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# More addresses are not kept apart: the ones seen longest ago are forgotten.
_MOST_ADDRESSES = 4096


class RateLimiter:
    """A token bucket for each address: ``rate`` a second, ``burst`` at once."""

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, address: str) -> bool:
        """Whether ``address`` may do one more thing now; it has then done it."""
        now = self._clock()
        with self._lock:
            left, before = self._left.pop(address, (self._burst, now))
            left = min(self._burst, left + (now - before) * self._rate)
            allowed = left >= 1
            self._left[address] = (left - allowed, now)
            if len(self._left) > _MOST_ADDRESSES:
                self._left.popitem(last=False)
        return allowed
