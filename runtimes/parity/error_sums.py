"""Sums of errors over batches, which are the same however the batches are grouped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.exact_sum import ExactSums


def decibels(signal: float, noise: float) -> float:
    """The ratio of two powers in dB; infinite where there is no noise."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


@dataclass
class ErrorSums:
    """What the errors of some elements add up to, in memory that does not grow with them."""

    elements: int = 0
    sums: ExactSums = field(default_factory=lambda: ExactSums(3))
    max_abs: float = 0.0
    max_relative: float = 0.0
    peak: float = 0.0
    worst_sample: int | None = None

    def add(self, error: Array, magnitude: Array, indices: Array, elements: int) -> Array:
        """Add a batch; gives the largest error of each sample.

        ``error`` and ``magnitude`` of the reference are absolute, [samples, …], and zero where an
        element does not count; ``elements``: how many do.
        """
        self.elements += elements
        self.sums.add(np.array([error.sum(), (error**2).sum(), (magnitude**2).sum()]))
        per_sample = error.reshape(len(error), -1).max(axis=1)
        if self.worst_sample is None or per_sample.max() > self.max_abs:
            self.worst_sample = int(indices[int(per_sample.argmax())])
        self.max_abs = max(self.max_abs, float(per_sample.max()))
        peaks = magnitude.reshape(len(error), -1).max(axis=1)
        self.peak = max(self.peak, float(peaks.max()))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(per_sample == 0, 0.0, per_sample / peaks)
        self.max_relative = max(self.max_relative, float(relative.max()))
        return np.asarray(per_sample)

    @property
    def mean_abs(self) -> float:
        """The mean of the errors."""
        return float(self.sums.values()[0]) / self.elements

    @property
    def decibels(self) -> float:
        """Signal-to-noise ratio in dB; infinite where nothing differs."""
        _, noise, signal = map(float, self.sums.values())
        return decibels(signal, noise)

    def copy(self) -> ErrorSums:
        """The same sums, which go on by themselves."""
        return replace(self, sums=self.sums.copy())

    def absorb(self, later: ErrorSums) -> None:
        """Add those of batches that come later."""
        self.elements += later.elements
        self.sums.absorb(later.sums)
        if self.worst_sample is None or later.max_abs > self.max_abs:
            self.worst_sample = later.worst_sample
        self.max_abs = max(self.max_abs, later.max_abs)
        self.max_relative = max(self.max_relative, later.max_relative)
        self.peak = max(self.peak, later.peak)

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes."""
        return {**vars(self), "sums": self.sums.state()}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> ErrorSums:
        """What ``state`` gave."""
        return cls(**{**state, "sums": ExactSums.restored(state["sums"])})
