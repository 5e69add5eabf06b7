"""Regression over all samples: R², how much of the labels' variance is explained, and RMSE."""

from __future__ import annotations

import math

import numpy as np

from runtimes.base import Array
from runtimes.metrics.pooled import PooledMetric
from runtimes.metrics.scores import fitted, squared_error

# Up to so many columns each has a value of its own; pictures and series have one for all.
_MOST_COLUMNS = 64


class Determination(PooledMetric):
    """1 - Σ (label - output)² / Σ (label - mean)², the mean over columns, 1 at best.

    It has no unit, so that a drop means the same for prices and for angles. A column of equal
    labels has no variance to explain, and is left out. Keeps a few sums a sample.
    """

    undefined = "r2 needs labels that vary; all of them are equal"

    def kept(self, output: Array, label: Array, indices: Array) -> Array:
        """Count and sums of squared errors, labels and squared labels by column."""
        y = fitted(output, label).astype(np.float64)
        error = (output.astype(np.float64) - y) ** 2
        columns = y.shape[1] if y.ndim == 2 and y.shape[1] <= _MOST_COLUMNS else 1
        parts = [values.reshape(len(y), -1, columns) for values in (error, y, y * y)]
        count = np.full((len(y), columns), parts[0].shape[1], np.float64)
        return np.stack([count, *(part.sum(axis=1) for part in parts)], axis=1)

    def of(self, kept: Array) -> float:
        """R²; NaN where the labels do not vary."""
        n, error, y, yy = kept.sum(axis=0)
        variance = yy - y * y / n
        held = variance > 1e-12 * np.maximum(yy, 1e-300)  # below that, differences are rounding
        if not held.any():
            return math.nan
        return float(np.mean(1 - error[held] / variance[held]))


class RootMeanSquare(PooledMetric):
    """The root of the mean squared error, in the unit of the labels. Keeps a mean a sample."""

    higher_is_better = False
    undefined = "rmse needs samples"

    def kept(self, output: Array, label: Array, indices: Array) -> Array:
        """The mean squared error of each sample."""
        return squared_error(output, label, indices)

    def of(self, kept: Array) -> float:
        """The root of their mean."""
        return math.sqrt(float(kept.mean())) if len(kept) else math.nan
