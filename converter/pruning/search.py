"""How far to prune: further and further, until the budget or a target says enough.

Every step makes the model cheaper by a share, by the cuts that add least error for what they
save. Whether it was one step too many is judged on data that the judged weights have not
seen: four models are cut alike, each fitted on three quarters of the data and judged on the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import onnx_ir as ir

from converter.judge import Budget
from converter.pruning.allocation import Cut, allocate
from converter.pruning.cost import Cost, CostModel
from converter.pruning.dependencies import Selection
from converter.pruning.objective import Judgement, judge
from converter.pruning.plan import Plan, cut, cut_and_repair, select
from converter.pruning.ranking import GroupRanking
from converter.pruning.sensitivity import Stopwatch, counted_ratio, measure_influence, offered_cuts
from converter.pruning.sums import Problem

Resource = Literal["latency", "macs", "parameters"]

_STEP = 0.65
_SMALLEST_STEP = 0.92
_FOLDS = 4
_SECONDS_A_CUT = 0.05
_SECONDS_A_STEP = 0.5
# Of two cuts that save the same time the one with fewer parameters is better, a little.
_WEIGHT_OF_PARAMETERS = 0.1
# The search ends after so many steps in a row that left more than this share of the cost.
_STALLED = 0.97
_MOST_STALLED = 2
_NEAR = 1 + 1e-9


@dataclass(frozen=True)
class Target:
    """The ``share`` of the cost that is enough; zero: as little as the budget allows."""

    resource: Resource
    share: float = 0.0


@dataclass(frozen=True)
class Tried:
    """A plan that was tried: what it leaves of the cost, and how it was judged."""

    plan: Plan
    cost: Cost
    share: float
    judgement: Judgement


@dataclass(frozen=True)
class Found:
    """The furthest plan inside the budget, empty where there is none, and all that were tried."""

    plan: Plan
    tried: tuple[Tried, ...]
    reached: bool


def search(
    problem: Problem,
    rankings: Sequence[GroupRanking],
    costs: CostModel,
    budget: Budget,
    target: Target,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> Found:
    """Find how many units of each group may go from the reference of ``problem``."""
    return _Search(problem, rankings, costs, budget, target, progress).run()


class _Search:
    def __init__(  # noqa: PLR0917
        self,
        problem: Problem,
        rankings: Sequence[GroupRanking],
        costs: CostModel,
        budget: Budget,
        target: Target,
        progress: Callable[[str], None],
    ) -> None:
        self._problem, self._rankings, self._costs = problem, rankings, costs
        self._budget, self._target, self._progress = budget, target, progress
        self._folds = problem.data.folds(_FOLDS, problem.seed)
        self._plan: Plan = {}
        self._tried: list[Tried] = []
        self._share, self._step, self._stalled = 1.0, _STEP, 0

    def run(self) -> Found:
        """Steps, until one too many even of the smallest size."""
        self._progress("measuring the influence of channels")
        self._influence = measure_influence(self._problem, self._rankings)
        while self._share > self._target.share * _NEAR and self._step <= _SMALLEST_STEP:
            if not self._advance() or self._stalled == _MOST_STALLED:
                break
        reached = not self._target.share or self._share <= self._target.share * _NEAR
        return Found(self._plan, tuple(self._tried), reached)

    def _advance(self) -> bool:
        """Prune further; returns whether something was left to prune inside the budget."""
        self._progress(f"measuring what cuts save, {self._share:.0%} left")
        offers = self._offers()
        while self._step <= _SMALLEST_STEP:
            wanted = max(self._step, self._target.share / self._share)
            chosen = allocate(offers, wanted)
            left = math.prod(one.ratio for one in chosen if one is not None)
            if left > max(wanted, _SMALLEST_STEP):
                return False  # what could still go saves next to nothing
            further = {
                ranking.name: self._plan.get(ranking.name, len(ranking.units)) - one.units
                for ranking, one in zip(self._rankings, chosen, strict=True)
                if one is not None
            }
            if self._try({**self._plan, **further}):
                return True
            self._step = math.sqrt(self._step)
        return False

    def _try(self, plan: Plan) -> bool:
        """Judge a plan and make it the current one if it is inside the budget."""
        self._progress("repairing and judging")
        kept = select(self._problem, self._rankings, plan)
        judgement, model = self._judge(kept)
        share = self._measure_share(model, kept)
        self._tried.append(Tried(plan, self._costs.count(kept), share, judgement))
        if judgement.passed:
            before = select(self._problem, self._rankings, self._plan)
            parameters = counted_ratio(self._costs, before, "parameters")(kept)
            left = share / self._share * parameters**_WEIGHT_OF_PARAMETERS
            self._stalled = self._stalled + 1 if left > _STALLED else 0
            self._plan, self._share = plan, share
        return judgement.passed

    def _judge(self, kept: Selection) -> tuple[Judgement, ir.Model]:
        """How models do on the data that they were not fitted on, and one of the models."""
        models = []
        for others, _ in self._folds:
            models.append(cut_and_repair(replace(self._problem, data=others), kept))
            held_out = [part for _, part in self._folds[: len(models)]]
            judgement = judge(
                self._problem.reference,
                list(zip(models, held_out, strict=True)),
                self._budget,
                threads=self._problem.options.threads,
            )
            if judgement.is_hopeless(self._budget):
                break
        return judgement, models[0]

    def _offers(self) -> list[list[Cut]]:
        problem, rankings, plan = self._problem, self._rankings, self._plan
        kept = select(problem, rankings, plan)
        if self._target.resource != "latency":
            ratio = counted_ratio(self._costs, kept, self._target.resource)
            return offered_cuts(problem, rankings, plan, self._influence, ratio)
        parameters = counted_ratio(self._costs, kept, "parameters")
        with Stopwatch(cut(problem, kept), problem.data, problem.options.threads) as watch:

            def timed(further: Selection) -> float:
                share = watch.ratio(cut(problem, further), _SECONDS_A_CUT)
                return min(share, 1.0) * float(parameters(further) ** _WEIGHT_OF_PARAMETERS)

            return offered_cuts(problem, rankings, plan, self._influence, timed)

    def _measure_share(self, model: ir.Model, kept: Selection) -> float:
        """What is left of the cost of the whole model."""
        problem = self._problem
        if self._target.resource != "latency":
            everything = problem.dependencies.everything()
            return counted_ratio(self._costs, everything, self._target.resource)(kept)
        with Stopwatch(problem.reference, problem.data, problem.options.threads) as watch:
            return watch.ratio(model, _SECONDS_A_STEP)
