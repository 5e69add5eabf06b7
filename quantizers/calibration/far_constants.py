"""Values of which a part is one constant far from all the rest, and what they need.

Eight bits cannot hold both -999 and what is between 0 and 1. Which of the two counts is not
seen in the values: the ones of a binary input are far from its zeros, too, and all that it says.

- Where the rest is a single value, the grid of both is exact enough, however rare one of them is.
- Where the constant is very rare, it is an outlier, and the rest sets the scale.
- Otherwise what reads the values decides: the whole model is measured with either scale, and with
  those readers in float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantizers.calibration.observers import HistogramObserver, InsideObserver, Observer, Range
from quantizers.calibration.range_selection import data_range

# Below this share of the values a constant is an outlier: over a tensor of 10,000 it is one.
_RARE = 1e-4

# A constant may hide another one that is not quite as far.
_MOST_PASSES = 3


@dataclass(frozen=True)
class FarConstant:
    """What is far from the ``rest`` of a value: the constant, and its share of the elements."""

    constant: float
    rest: Range
    share: float

    @property
    def rare(self) -> bool:
        """Whether the rest alone should set the scale."""
        return self.share < _RARE and not self.few_values

    @property
    def few_values(self) -> bool:
        """Whether the rest is a single value, as the zeros of a binary input are."""
        return self.rest.low == self.rest.high

    def __str__(self) -> str:
        return (
            f"{self.share:.2%} of it is {self.constant:g}, and the rest between "
            f"{self.rest.low:.3g} and {self.rest.high:.3g}"
        )


def find_constants(
    histograms: Mapping[str, HistogramObserver],
    observe: Callable[[Mapping[str, Observer]], object],
) -> dict[str, FarConstant]:
    """The values with a constant far from the rest; ``observe`` lets observers see the data."""
    found: dict[str, FarConstant] = {}
    waiting = {name: (one, one.span) for name, one in histograms.items()}
    for _ in range(_MOST_PASSES):
        inner = {name: data_range(one) for name, (one, _) in waiting.items()}
        inside = {
            name: InsideObserver(_widened(span, waiting[name][0]))
            for name, span in inner.items()
            if span is not None
        }
        if not inside:
            break
        observe(inside)
        for name, one in inside.items():
            rest, whole = one.range(), waiting[name][1]
            far = whole.low if rest.low - whole.low > whole.high - rest.high else whole.high
            first = found.get(name)
            share = 1 - one.inside / one.total
            found[name] = FarConstant(first.constant if first else far, rest, share)
        again = {
            name: (HistogramObserver(found[name].rest, inside_only=True), found[name].rest)
            for name in inside
            if not found[name].few_values
        }
        if again:
            observe({name: one for name, (one, _) in again.items()})
        waiting = again
    return found


def _widened(span: Range, histogram: HistogramObserver) -> Range:
    """``span`` and a bin more on both sides: float32 may have put a value into the next one."""
    width = (histogram.span.high - histogram.span.low) / len(histogram.counts)
    return Range(span.low - width, span.high + width)
