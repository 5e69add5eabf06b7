"""Values that stand for many: k-means in one dimension (Han et al. 2016, arXiv:1510.00149).

In one dimension the best clusters are intervals, which dynamic programming finds (Wang and Song
2011, Ckmeans.1d.dp): here between a few hundred cells, then Lloyd's steps among narrow bins.
"""

from __future__ import annotations

import numpy as np

from runtimes.base import Array

# So many bins are as good as the values themselves, and however many those are, as quick.
_BINS = 1 << 14
_CELLS = 512
_ROUNDS = 30


def cluster(values: Array, clusters: int, importance: Array | None = None) -> Array:
    """``clusters`` centres, ascending float64, that lie near ``values`` in the mean square.

    ``importance``: what the square of each counts, of the same shape; None: one.
    """
    flat = values.reshape(-1).astype(np.float64)
    weights = np.ones_like(flat) if importance is None else importance.reshape(-1)
    low, high = float(flat.min(initial=0.0)), float(flat.max(initial=0.0))
    if low == high:
        return np.full(clusters, low)
    mass, _ = np.histogram(flat, _BINS, (low, high), weights=weights)
    total, _ = np.histogram(flat, _BINS, (low, high), weights=weights * flat)
    known = mass > 0
    mass, point = mass[known], total[known] / mass[known]
    if len(point) <= clusters:
        return np.concatenate([point, np.full(clusters - len(point), point[-1])])
    centres = _intervals(point, mass, clusters)
    for _ in range(_ROUNDS):
        moved = _moved(point, mass, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def nearest_index(values: Array, centres: Array) -> Array:
    """Which of the ascending ``centres`` is nearest to each of ``values``."""
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values)


def _intervals(point: Array, mass: Array, clusters: int) -> Array:
    """The means of the best intervals between cells of the ascending points."""
    # Fine where there are many points: in the optimum density goes by the power of a third.
    share = np.cumsum(np.cbrt(mass))
    cell = np.minimum((share / share[-1] * _CELLS).astype(int), _CELLS - 1)
    start = np.flatnonzero(np.diff(cell, prepend=-1))
    sums = [np.add.reduceat(mass * point**power, start) for power in (0, 1, 2)]
    one, first, second = (np.concatenate([[0.0], np.cumsum(part)]) for part in sums)
    count = len(start)
    inside = one[None, :] - one[:, None]
    middle = first[None, :] - first[:, None]
    ends = np.arange(count + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = (second[None, :] - second[:, None]) - middle**2 / inside
    cost = np.where(ends[None, :] > ends[:, None], cost, np.where(ends[:, None] == ends, 0, np.inf))
    least, cuts = cost[0], []
    for _ in range(clusters - 1):
        whole = least[:, None] + cost
        cuts.append(whole.argmin(axis=0))
        least = whole.min(axis=0)
    edges = [count]
    for cut in reversed(cuts):
        edges.append(int(cut[edges[-1]]))
    bounds = np.array([0, *reversed(edges)])
    mean = np.diff(first[bounds]) / np.where(np.diff(one[bounds]) > 0, np.diff(one[bounds]), 1.0)
    empty = np.diff(bounds) == 0
    return np.sort(np.where(empty, mean[~empty][-1], mean))


def _moved(point: Array, mass: Array, centres: Array) -> Array:
    """Each centre at the mean of the points that are nearest to it."""
    index = nearest_index(point, centres)
    total = np.bincount(index, mass, minlength=len(centres))
    moment = np.bincount(index, mass * point, minlength=len(centres))
    return np.sort(np.where(total > 0, moment / np.where(total > 0, total, 1.0), centres))
