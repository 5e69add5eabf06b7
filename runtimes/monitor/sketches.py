"""Counts that stay small: latencies by powers of a root of two, and errors by status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_PER_OCTAVE, _SHORTEST, _BINS = 4, 1e-6, 108  # one microsecond to two minutes


class Latencies:
    """How long requests took, in bins of a fourth of an octave: quantiles within 9%."""

    def __init__(self) -> None:
        self.counts = [0] * _BINS

    def add(self, seconds: float) -> None:
        """Count one."""
        octaves = math.log2(seconds / _SHORTEST) if seconds > _SHORTEST else 0.0
        self.counts[min(_BINS - 1, int(octaves * _PER_OCTAVE))] += 1

    def quantile(self, share: float) -> float | None:
        """Seconds that ``share`` of the requests do not exceed (geometric middle of the bin)."""
        wanted, passed = share * sum(self.counts), 0
        for place, count in enumerate(self.counts):
            passed += count
            if count and passed >= wanted:
                return float(_SHORTEST * 2 ** ((place + 0.5) / _PER_OCTAVE))
        return None

    def to_dict(self) -> dict[str, Any]:
        """Count and quantiles, in seconds."""
        return {
            "count": sum(self.counts),
            **{f"p{round(100 * q)}": self.quantile(q) for q in (0.5, 0.9, 0.99)},
        }

    def take_up(self, counts: Any) -> None:
        """Go on with counts that were saved; ``ValueError`` or ``TypeError``."""
        found = [int(one) for one in counts]
        if len(found) != _BINS or min(found) < 0:
            raise ValueError("counts of other bins")
        self.counts = found


class Errors:
    """How often which status was answered in place of a result."""

    _MOST = 64

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, status: int) -> None:
        """Count one; what nobody answers is counted as "other"."""
        key = str(int(status))
        if key not in self.counts and len(self.counts) >= self._MOST:
            key = "other"
        self.counts[key] = self.counts.get(key, 0) + 1

    def take_up(self, counts: Mapping[str, Any]) -> None:
        """Go on with counts that were saved; ``ValueError`` or ``TypeError``."""
        self.counts = {str(key)[:8]: max(0, int(one)) for key, one in list(counts.items())[:64]}
