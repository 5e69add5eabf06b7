"""From the histogram of a tensor to the interval that eight bits should cover.

Covering everything wastes codes on rare large values; cutting them off is an error too. Each
method below proposes an interval; ``choose_range`` takes the one with the least expected
squared error on the histogram.

- *min-max*: everything.
- *percentile*: all but a fixed share of the values.
- *entropy*: least Kullback-Leibler divergence of the rounded from the true distribution
  (Migacz, 8-bit inference with TensorRT, GTC 2017), searched over cuts of both ends.
- *mse*: least squared error, searched likewise (Choukroun et al. 2019, arXiv:1902.06822).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from quantizers.calibration.observers import HistogramObserver, Range
from quantizers.calibration.scales import LEVELS

PERCENTILES = (99.9, 99.99, 99.999)
"""Shares of the values, in percent, that ``percentile`` proposes to cover."""

# Steps of the search for each end: cuts down to a thirtieth of the range.
_CUTS = np.linspace(0.0, 29 / 30, 59)

# Where this much of a range is empty and what is beyond is a single bin, that bin is a constant
# (a mask value, say): what is computed from data is never so far from all the rest.
_EMPTY = 0.995


@dataclass(frozen=True)
class ChosenRange:
    """An interval, the method that proposed it, and its squared error per value."""

    span: Range
    method: str
    error: float


def choose_range(histogram: HistogramObserver) -> ChosenRange:
    """The interval with the least squared error among the proposals of all methods."""
    proposals = [("min-max", histogram.span)]
    proposals += [(f"percentile {p:g}", percentile_range(histogram, p)) for p in PERCENTILES]
    proposals.append(("entropy", entropy_range(histogram)))
    proposals.append(("mse", mse_range(histogram)))
    chosen = [
        ChosenRange(span, method, squared_error(histogram, span)) for method, span in proposals
    ]
    return min(chosen, key=lambda one: one.error)


def percentile_range(histogram: HistogramObserver, percent: float) -> Range:
    """The interval that leaves out ``100 - percent`` percent of the values, both ends alike."""
    total = histogram.counts.sum()
    if not total:
        return histogram.span
    reached = np.cumsum(histogram.counts) / total
    beyond = (1 - percent / 100) / 2
    centers = histogram.centers()
    low = int(np.searchsorted(reached, beyond, side="right"))
    high = int(np.searchsorted(reached, 1 - beyond, side="left"))
    span = histogram.span
    return Range(
        span.low if low == 0 else float(centers[low]),
        span.high if high >= len(centers) - 1 else float(centers[high]),
    )


def mse_range(histogram: HistogramObserver) -> Range:
    """The interval of the least squared error."""
    return _search(histogram, squared_error)


def entropy_range(histogram: HistogramObserver) -> Range:
    """The interval of the least Kullback-Leibler divergence."""
    return _search(histogram, divergence)


def squared_error(histogram: HistogramObserver, span: Range) -> float:
    """Mean squared error of rounding to 255 steps of ``span`` (with zero), clipping included.

    Zero itself is on every grid and costs nothing: most values behind a ReLU are zeros.
    """
    centers, counts = histogram.centers(), histogram.counts
    total = counts.sum()
    if not total:
        return 0.0
    low, high = min(span.low, 0.0), max(span.high, 0.0)
    step = (high - low) / LEVELS
    clipped = np.maximum(centers - high, 0) + np.maximum(low - centers, 0)
    width = (histogram.span.high - histogram.span.low) / len(centers)
    rounded = (clipped <= width / 2) & ~((centers - width / 2 <= 0) & (centers + width / 2 > 0))
    error = counts @ np.square(clipped) + counts[rounded].sum() * step * step / 12
    return float(error / total)


def divergence(histogram: HistogramObserver, span: Range) -> float:
    """Kullback-Leibler divergence of the distribution from its rounded and clipped form, nats."""
    centers, counts = histogram.centers(), histogram.counts
    low, high = min(span.low, 0.0), max(span.high, 0.0)
    total = counts.sum()
    if not total or high <= low:
        return 0.0
    codes = np.clip(np.rint((centers - low) / (high - low) * LEVELS), 0, LEVELS).astype(int)
    inside = (centers >= low) & (centers <= high)
    true = counts / total
    # The mass of a code is spread over the bins inside the interval that round to it and are
    # not empty; what was clipped went to the edges.
    mass = np.bincount(codes, weights=true, minlength=LEVELS + 1)
    held = np.bincount(codes, weights=inside & (counts > 0), minlength=LEVELS + 1)
    spread = np.where(held > 0, mass / np.maximum(held, 1), 0.0)[codes] * inside
    seen = counts > 0
    floor = 1e-9
    return float(np.sum(true[seen] * np.log(true[seen] / np.maximum(spread[seen], floor))))


def _search(
    histogram: HistogramObserver, cost: Callable[[HistogramObserver, Range], float]
) -> Range:
    """Cut the upper end, then the lower, then the upper once more, wherever the cost is least."""
    best = histogram.span
    for end in ("high", "low", "high"):
        best = min(_cuts(histogram.span, best, end), key=lambda span: cost(histogram, span))
    return best


def _cuts(full: Range, now: Range, end: str) -> Iterator[Range]:
    yield now
    for cut in _CUTS:
        if end == "high" and full.high > 0:
            yield Range(now.low, full.high * (1 - cut))
        elif end == "low" and full.low < 0:
            yield Range(full.low * (1 - cut), now.high)


def data_range(histogram: HistogramObserver) -> Range | None:
    """The part of the interval that holds most of what there is, if the rest is far from it.

    Mask values and other sentinels (-1e9, -999) are far beyond everything that is computed
    from data, with nothing in between; so are the ones of a binary input from its zeros. The
    interval is of whole bins, and one of them may be all of it.
    """
    filled = np.flatnonzero(histogram.counts)
    if len(filled) < 2:
        return None
    bins = len(histogram.counts)
    gaps = np.diff(filled)
    widest = int(gaps.argmax())
    if gaps[widest] < bins * _EMPTY:
        return None
    below, above = filled[: widest + 1], filled[widest + 1 :]
    zero = -histogram.span.low / (histogram.span.high - histogram.span.low) * bins
    # The data are on the side of zero: constants of this size are far from it.
    data = below if abs(below[-1] - zero) < abs(above[0] - zero) else above
    edges = histogram.span.low + np.arange(bins + 1) * (
        (histogram.span.high - histogram.span.low) / bins
    )
    return Range(float(edges[data[0]]), float(edges[data[-1] + 1]))
