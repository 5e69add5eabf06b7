"""What each cut of a group would save and what it would do to the model's outputs.

The influence of a group on the outputs is known for a quarter of its units; how it grows from there
follows the costs of the ranking. What is saved is counted (multiply-adds, parameters) or taken from
the cost table, for the whole model, because fusions and blocked layouts make the time of a layer a
matter of its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from converter.pruning.groups.selection import Selection
from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.sums import Problem
from converter.pruning.search.allocation import Cut
from converter.pruning.search.cost import CostModel
from converter.pruning.search.plan import Plan, select
from converter.pruning.search.sensitivity import LEAST, Influence

# Cuts that a group offers a step, and all groups together.
_LEVELS = 6
_MOST_CANDIDATES = 120
# Of a group, in one step: how the error grows beyond is not known well enough.
_DEEPEST = 0.5
# Kernels compute channels in blocks of so many (of larger groups, which have that many units at
# least): between two numbers of whole blocks their time is near to a straight line.
_BLOCKS = ((48, 16), (24, 8), (12, 4))

Ratios = Callable[[Sequence[Selection]], Sequence[float]]
"""What each selection leaves of a model's cost, 0 … 1."""


def offered_cuts(
    problem: Problem,
    rankings: Sequence[GroupRanking],
    plan: Plan,
    influence: Influence,
    ratios: Ratios,
) -> list[list[Cut]]:
    """The further cuts that each ranked group offers, down to half of what ``plan`` leaves it.

    A group that stands for a residual branch also offers all it has left: then the branch goes.
    """
    kept = select(problem, rankings, plan)
    left = {ranking.name: int(kept.units[ranking.units].sum()) for ranking in rankings}
    spent = {
        ranking.name: influence.by_cost[ranking.name] * _cost(ranking, left[ranking.name])
        for ranking in rankings
    }
    branches = {branch.name: branch for branch in problem.branches}
    levels = max(1, min(_LEVELS, _MOST_CANDIDATES // max(1, len(rankings))))
    stays = {
        ranking.name: _offered(left[ranking.name], ranking.group.closed_units, levels)
        for ranking in rankings
    }
    gone = [name for name in influence.branches if left.get(name)]
    asked = [
        (ranking.name, count)
        for ranking in rankings
        for count in _asked(
            stays[ranking.name],
            left[ranking.name] + ranking.group.closed_units,
            ranking.group.closed_units,
        )
    ] + [(name, 0) for name in gone]
    selections = [select(problem, rankings, {**plan, name: count}) for name, count in asked]
    known = dict(zip(asked, ratios(selections), strict=True))
    offers = []
    for ranking in rankings:
        name, now = ranking.name, left[ranking.name]
        points = {
            count: ratio for (other, count), ratio in known.items() if other == name and count
        }
        points[now] = 1.0
        cuts = [
            Cut(
                now - count,
                _between(points, count),
                influence.by_cost[name] * _cost(ranking, count) - spent[name],
            )
            for count in stays[name]
        ]
        if name in gone:
            inside = sum(spent[inner] for inner in branches[name].groups)
            error = max(influence.branches[name] - inside, LEAST)
            cuts.append(Cut(now, known[name, 0], error))
        offers.append(cuts)
    return offers


def _asked(stays: Sequence[int], total: int, closed: int) -> Sequence[int]:
    """Of the numbers of open units that could stay, those whose cost is asked for: whole blocks.

    In large groups the least number is enough where it is whole; in small ones each block counts.
    """
    block = next((block for least, block in _BLOCKS if total >= least), 1)
    whole = [count for count in stays if (count + closed) % block == 0]
    if stays[-1:] != whole[-1:]:
        return [*whole, *stays[-1:]]
    return whole[-1:] if block == _BLOCKS[0][1] else whole


def _between(points: Mapping[int, float], count: int) -> float:
    """The ratio at ``count`` units, on a straight line between those that are known."""
    places = sorted(points)
    return float(np.interp(count, places, [points[place] for place in places]))


def _cost(ranking: GroupRanking, stays: int) -> float:
    gone = len(ranking.units) - stays
    return float(ranking.costs[gone - 1]) if gone else 0.0


def _offered(now: int, closed: int, levels: int) -> list[int]:
    """How many of ``now`` open units could stay: with the closed ones a round number.

    ONNX Runtime computes convolutions in blocks of 8 or 16 channels.
    """
    total = now + closed
    step = 8 if total >= 48 else 4 if total >= 24 else 2 if total >= 12 else 1
    lowest = max(1, closed, math.ceil(total * (1 - _DEEPEST)))
    stays = [n - closed for n in range(lowest, total) if n % step == 0]
    stays = [n for n in stays if n > 0]
    if len(stays) > levels:
        places = np.linspace(0, len(stays) - 1, levels).round().astype(int)
        stays = [stays[place] for place in places]
    return stays[::-1]


def counted_ratios(
    costs: CostModel, kept: Selection, what: Literal["macs", "parameters"]
) -> Ratios:
    """The ratios of multiply-adds or parameters to those of ``kept``."""

    def count(selection: Selection) -> int:
        cost = costs.count(selection)
        return cost.macs if what == "macs" else cost.parameters

    now = max(1, count(kept))
    return lambda selections: [count(one) / now for one in selections]
