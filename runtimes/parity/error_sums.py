"""Sums of errors over batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array


def decibels(signal: float, noise: float) -> float:
    """The ratio of two powers in dB; infinite where there is no noise."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


@dataclass
class ErrorSums:
    """What the errors of some elements add up to, in memory that does not grow with them."""

    elements: int = 0
    sum_abs: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
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
        self.sum_abs += float(error.sum())
        self.noise += float((error**2).sum())
        self.signal += float((magnitude**2).sum())
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
    def decibels(self) -> float:
        """Signal-to-noise ratio in dB; infinite where nothing differs."""
        return decibels(self.signal, self.noise)
