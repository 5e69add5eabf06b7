"""Where bins begin and end: at quantiles of the reference's own values, or where they are given.

An edge lies halfway between two values that occur, so that another CPU's rounding moves nothing
across it, and a value that occurs very often (a background of zeros) has a bin to itself. The
outermost edges leave a margin beyond the least and the largest value that were seen.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np

from runtimes.base import Array
from runtimes.monitor.binning import text_of
from runtimes.monitor.layout import NOISE_STEP_DB

QUANTILES = 8
MOST_CATEGORIES = 63
ENDS_EDGES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)
"""Shares of an activation's elements at the ends of its range."""
NOISE_EDGES = tuple(float(decibels) for decibels in range(-60, 1, NOISE_STEP_DB))
"""Noise of the answer over its signal, in dB; what is worse is above."""
DISAGREEMENT_EDGES = (0.5,)

_MARGIN, _RELATIVE_MARGIN = 1e-3, 1e-5


def quantile_edges(values: Array) -> tuple[float, ...]:
    """The edges of one feature for the values of all its samples; none where nothing is finite."""
    values = values[np.isfinite(values)]
    if not values.size:
        return ()
    distinct, counts = np.unique(values, return_counts=True)
    low, high = float(distinct[0]), float(distinct[-1])
    margin = _MARGIN * (high - low) + _RELATIVE_MARGIN * max(abs(low), abs(high), 1e-30)
    below = np.cumsum(counts) / values.size
    wanted = np.arange(1, QUANTILES) / QUANTILES
    places = np.unique(np.searchsorted(below, wanted - 1e-12))
    places = np.unique(np.concatenate([places, places[counts[places] > _often(values)] - 1]))
    places = places[(places >= 0) & (places < distinct.size - 1)]
    inner = (distinct[places] + (distinct[places + 1] - distinct[places]) / 2).tolist()
    return _increasing([low - margin, *inner, high + margin])


def _often(values: Array) -> float:
    """Occurrences from which a value has a bin to itself."""
    return values.size / QUANTILES


def _increasing(edges: list[float]) -> tuple[float, ...]:
    kept = [edges[0]]
    kept += [one for before, one in itertools.pairwise(edges) if one > before]
    return tuple(float(one) for one in kept)


def frequent(values: list[Array]) -> tuple[int | str, ...]:
    """The categories that occur most, sorted; equal ones in their order."""
    found: Counter[int | str] = Counter()
    for array in values:
        if array.dtype.kind in "iub":
            numbers, counts = np.unique(array, return_counts=True)
            found.update(dict(zip(map(int, numbers), map(int, counts), strict=True)))
        else:
            found.update(text_of(one) for one in array.reshape(-1).tolist())
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return tuple(sorted(one for one, _ in ranked[:MOST_CATEGORIES]))
