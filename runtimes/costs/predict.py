"""The latency of a model, as the sum over its kernels and what a run costs beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtimes.costs.kernels import Executed
from runtimes.costs.table import CostTable

# Kernels one by one do not make a model: caches and memory differ.
_LEAST_UNCERTAINTY = 0.02


@dataclass(frozen=True)
class Prediction:
    """Microseconds of one run, and one standard deviation of them.

    ``kernels``: each with what it takes in a run; with what a run costs beside them they add up to
    the whole. ``spreads`` by signature, as shares.
    """

    microseconds: float
    uncertainty: float
    kernels: tuple[tuple[Executed, float], ...]
    spreads: Mapping[str, float]

    @property
    def of_kernels(self) -> float:
        """Microseconds of the kernels alone."""
        return sum(time for _, time in self.kernels)

    def doubt_next_to(self, other: Prediction) -> float:
        """One standard deviation of the ratio of both, as a share.

        Kernels that both run are equally uncertain in both, and do not count.
        """
        own, others = self._spreads(), other._spreads()
        apart = [own.get(key, 0.0) - others.get(key, 0.0) for key in own.keys() | others.keys()]
        least = min(self.microseconds, other.microseconds)
        return math.hypot(_LEAST_UNCERTAINTY, math.hypot(*apart) / least)

    def _spreads(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for one, time in self.kernels:
            key = one.kernel.signature
            found[key] = found.get(key, 0.0) + time * self.spreads[key]
        return found


def predict(executed: Sequence[Executed], table: CostTable) -> Prediction:
    """Predict the latency of a model whose kernels are all in ``table``."""
    timed = []
    variance = 0.0
    for one in executed:
        reading = table.readings[one.kernel.signature]
        timed.append((one, reading.microseconds * one.times))
        variance += (reading.microseconds * one.times * reading.spread) ** 2
    total = (table.run_microseconds or 0.0) + sum(time for _, time in timed)
    uncertainty = math.sqrt(variance + (_LEAST_UNCERTAINTY * total) ** 2)
    spreads = {
        one.kernel.signature: table.readings[one.kernel.signature].spread for one in executed
    }
    return Prediction(total, uncertainty, tuple(timed), spreads)
