"""Ever smaller plans, one behind the other: by the cuts that add least error for what they save.

How much error the groups make is measured once, before the first cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.sums import Problem
from converter.pruning.search.allocation import allocate
from converter.pruning.search.cost import CostModel
from converter.pruning.search.plan import Plan, select
from converter.pruning.search.savings import Resource, Savings, Target
from converter.pruning.search.sensitivity import Influence, measure_influence
from runtimes.costs import Costs

STEP = 0.65
"""What a large step leaves of the cost."""

SMALLEST_STEP = 0.92
"""A step that leaves more is none, unless it was asked to."""

_LONGEST = 24


@dataclass(frozen=True)
class Link:
    """A plan, and about which share of the whole model's cost it leaves."""

    plan: Plan
    share: float


WHOLE = Link({}, 1.0)
"""The plan that leaves everything."""


@dataclass(frozen=True)
class Cuts:
    """The channels of one problem that may go, what they save and what they cost."""

    problem: Problem
    rankings: Sequence[GroupRanking]
    savings: Savings
    influence: Influence

    @classmethod
    def measure(
        cls,
        problem: Problem,
        rankings: Sequence[GroupRanking],
        costs: CostModel,
        target: Target,
        table: Costs,
    ) -> Cuts:
        """Measure the influence of the groups; ``table`` knows how long kernels take."""
        savings = Savings(problem, rankings, costs, target, table)
        return cls(problem, rankings, savings, measure_influence(problem, rankings))

    def behind(self, plan: Plan, wanted: float, resource: Resource) -> tuple[Plan, float] | None:
        """The plan that leaves ``wanted`` of what ``plan`` leaves, and what it leaves indeed.

        None where hardly anything goes.
        """
        chosen = allocate(self.savings.offers(plan, self.influence, resource), wanted)
        left = math.prod(one.ratio for one in chosen if one is not None)
        if left > max(wanted, SMALLEST_STEP):
            return None
        kept = select(self.problem, self.rankings, plan)
        now = {
            ranking.name: int(kept.units[ranking.units].sum()) - one.units
            for ranking, one in zip(self.rankings, chosen, strict=True)
            if one is not None
        }
        return {**plan, **now}, left

    def chain(self, resource: Resource, least: float = 0.0) -> Iterator[Link]:
        """Yield plans of ever less cost until nothing more is saved, or one leaves ``least``.

        None is judged; the last one is as near to ``least`` as cuts allow.
        """
        plan: Plan = {}
        share = 1.0
        for _ in range(_LONGEST):
            further = self.behind(plan, max(STEP, least / share), resource)
            if further is None:
                return
            plan, left = further
            share = (
                share * left
                if resource == "latency"
                else self.savings.counted_share(plan, resource)
            )
            yield Link(plan, share)
            if least and share <= least * (1 + 1e-9):
                return
