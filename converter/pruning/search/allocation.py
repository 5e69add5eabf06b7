"""Where to cut: how many channels each group gives, so that a target is met at the least error.

Each group offers cuts that leave a ratio of the model's cost and add an error. Ratios of
different groups multiply (the cost of a layer is a product of its inputs and outputs), errors
add. The cheapest steps are taken first, each group's in the order of its lower convex hull,
which is what Lagrange multipliers would choose.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """Removing ``units`` of a group leaves ``ratio`` of the cost and adds ``error``."""

    units: int
    ratio: float
    error: float


def allocate(groups: Sequence[Sequence[Cut]], target: float) -> list[Cut | None]:
    """For each group a cut or ``None``, such that the ratios multiply to ``target`` or less.

    Where all cuts together do not reach the target, all that save something are taken.
    """
    hulls = [_hull(cuts) for cuts in groups]
    chosen: list[Cut | None] = [None] * len(groups)
    steps = [(_slope(None, hull[0]), number, 0) for number, hull in enumerate(hulls) if hull]
    heapq.heapify(steps)
    reached = 0.0
    while steps and reached < -math.log(target) - 1e-12:
        _, number, place = heapq.heappop(steps)
        cut = hulls[number][place]
        reached += _saved(cut) - _saved(chosen[number])
        chosen[number] = cut
        if place + 1 < len(hulls[number]):
            slope = _slope(cut, hulls[number][place + 1])
            heapq.heappush(steps, (slope, number, place + 1))
    return chosen


def _saved(cut: Cut | None) -> float:
    return 0.0 if cut is None else -math.log(cut.ratio)


def _slope(before: Cut | None, after: Cut) -> float:
    """Error that is added for what is saved more."""
    error = after.error - (0.0 if before is None else before.error)
    return error / (_saved(after) - _saved(before))


def _hull(cuts: Sequence[Cut]) -> list[Cut]:
    """The cuts that are best for some price of error, by what they save."""
    hull: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: (_saved(cut), -cut.error)):
        if cut.ratio >= 1.0:
            continue
        while hull and cut.error <= hull[-1].error:
            hull.pop()
        if hull and _saved(cut) <= _saved(hull[-1]):
            continue
        while hull:
            before = hull[-2] if len(hull) > 1 else None
            if _slope(before, hull[-1]) < _slope(hull[-1], cut):
                break
            hull.pop()
        hull.append(cut)
    return hull
