"""Ever smaller plans, one behind the other, without judging any: what training may recover.

Each takes the cuts that add least error for what they save behind the one before it, by the
influence of the groups on the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.sums import Problem
from converter.pruning.search.allocation import allocate
from converter.pruning.search.plan import Plan, select
from converter.pruning.search.savings import Resource, Savings
from converter.pruning.search.sensitivity import Influence

STEP = 0.65
"""What a plan leaves of the cost of the one before it."""

_SMALLEST_STEP = 0.92
_LONGEST = 24


@dataclass(frozen=True)
class Link:
    """A plan, and about which share of the whole model's cost it leaves."""

    plan: Plan
    share: float


def chain(  # noqa: PLR0917
    problem: Problem,
    rankings: Sequence[GroupRanking],
    savings: Savings,
    influence: Influence,
    resource: Resource,
    least: float = 0.0,
) -> Iterator[Link]:
    """Yield plans of ever less cost until nothing more is saved, or one leaves ``least`` or less.

    The last one is as near to ``least`` as cuts allow.
    """
    plan: Plan = {}
    share = 1.0
    for _ in range(_LONGEST):
        wanted = max(STEP, least / share)
        further = next_plan(problem, rankings, savings, influence, resource, plan, wanted)
        if further is None:
            return
        plan, left = further
        share = share * left if resource == "latency" else savings.counted_share(plan, resource)
        yield Link(plan, share)
        if least and share <= least * (1 + 1e-9):
            return


def next_plan(  # noqa: PLR0917
    problem: Problem,
    rankings: Sequence[GroupRanking],
    savings: Savings,
    influence: Influence,
    resource: Resource,
    plan: Plan,
    wanted: float,
) -> tuple[Plan, float] | None:
    """The plan that leaves ``wanted`` of what ``plan`` leaves, and what it leaves indeed.

    None where hardly anything goes.
    """
    chosen = allocate(savings.offers(plan, influence, resource), wanted)
    left = math.prod(one.ratio for one in chosen if one is not None)
    if left > max(wanted, _SMALLEST_STEP):
        return None
    kept = select(problem, rankings, plan)
    now = {
        ranking.name: int(kept.units[ranking.units].sum()) - one.units
        for ranking, one in zip(rankings, chosen, strict=True)
        if one is not None
    }
    return {**plan, **now}, left
