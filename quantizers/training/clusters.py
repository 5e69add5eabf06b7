"""k-means in one dimension."""

from __future__ import annotations

import numpy as np

from runtimes.base import Array

_ROUNDS = 50


def cluster(values: Array, clusters: int) -> Array:
    """``clusters`` ascending centres (float64) near ``values``, by Lloyd's steps.

    They start evenly spread over the range, which keeps the few large weights that matter most
    (Han et al., https://arxiv.org/abs/1510.00149, section 3.2).
    """
    flat = np.sort(values.reshape(-1).astype(np.float64))
    centres = np.linspace(flat[0], flat[-1], clusters)
    sums = np.concatenate([[0.0], np.cumsum(flat)])
    for _ in range(_ROUNDS):
        edges = np.searchsorted(flat, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [len(flat)]])
        counts = np.diff(bounds)
        means = np.diff(sums[bounds]) / np.maximum(counts, 1)
        moved = np.where(counts > 0, means, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.sort(centres)


def nearest(values: Array, centres: Array) -> Array:
    """Which of the ascending ``centres`` is nearest to each of ``values``."""
    return np.asarray(np.searchsorted((centres[1:] + centres[:-1]) / 2, values))
