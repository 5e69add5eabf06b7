"""How the two models compare on what was served, and how long each takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.monitor.shadow import comparable, disagreement
from runtimes.parity.error_sums import decibels

_RECENT = 0.1


class ShadowSums:
    """Agreement and signal-to-noise ratio over all samples that ran through both models.

    Attributes:
        samples: How many did.
        failures: Runs of either model that raised.
        last_error: What the last of them said.
        compressed_seconds, fp32_seconds: Recent means for a request, None before the first.
    """

    def __init__(self, class_outputs: frozenset[str]) -> None:
        self._classes = class_outputs
        self.samples = self.failures = 0
        self.last_error: str | None = None
        self._rows = self._other = 0
        self._signal = self._noise = 0.0
        self.compressed_seconds: float | None = None
        self.fp32_seconds: float | None = None

    def add(self, expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
        """Compare the answers of both models to some samples."""
        rows = 0
        for name, array in found.items():
            reference = expected.get(name)
            if reference is None or not comparable(reference, array):
                continue
            rows = max(rows, len(array))
            if name in self._classes:
                other = disagreement(reference, array)
                self._rows += other.size
                self._other += int(other.sum())
            signal = reference.astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                self._signal += float(np.nansum(signal * signal))
                self._noise += float(np.nansum((signal - array) ** 2))
        self.samples += rows

    def failed(self, error: Exception) -> None:
        """Note that a run of one of the models raised."""
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"[:200]

    def took(self, seconds: float, *, by_fp32: bool) -> None:
        """Note what one request took in one of the models."""
        name = "fp32_seconds" if by_fp32 else "compressed_seconds"
        before = getattr(self, name)
        setattr(self, name, seconds if before is None else before + _RECENT * (seconds - before))

    @property
    def capacity(self) -> float:
        """What fp32 can do in the time of the compressed model, at most 1."""
        if not self.compressed_seconds or not self.fp32_seconds:
            return 1.0
        return min(1.0, self.compressed_seconds / self.fp32_seconds)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        sqnr = None
        if self._noise > 0 and self._signal > 0 and np.isfinite(self._noise / self._signal):
            sqnr = decibels(self._signal, self._noise)
        return {
            "samples": self.samples,
            "disagreement": self._other / self._rows if self._rows else None,
            "sqnr_db": sqnr,
            "failures": self.failures,
            "last_error": self.last_error,
        }
