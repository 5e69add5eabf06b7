"""How far to prune: further and further, until the budget or a target says enough.

Every step makes the model cheaper by a share, by the cuts that add least error for what they
save. Every plan is judged on data that the judged weights have not seen: four models are cut
alike, each fitted on three quarters of the data and judged on the rest; where the first is far
inside the budget, the others wait until that plan is to be taken. Large steps go on until one is
well outside the budget; smaller ones then look for more behind the last that is inside.

No clock is read: latency comes from the cost table, so the same table finds the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import onnx_ir as ir

from converter.pruning.groups.selection import Selection
from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.sums import Problem
from converter.pruning.search.allocation import Cut, allocate
from converter.pruning.search.cost import Cost, CostModel
from converter.pruning.search.int8_form import Form, as_float, int8_form
from converter.pruning.search.objective import Judgement, Verdict, decide, judge, share_of
from converter.pruning.search.plan import Plan, cut, cut_and_repair, select
from converter.pruning.search.sensitivity import (
    counted_ratios,
    measure_influence,
    offered_cuts,
)
from runtimes.costs import Costs
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.onnx_files.load_save import model_inputs
from runtimes.parity.budget import Budget
from runtimes.progress import Progress, silent

Resource = Literal["latency", "macs", "parameters"]

# What a large step leaves of the cost; smaller ones are roots of it, down to the smallest.
_STEP = 0.65
_SMALLEST_STEP = 0.92
_FOLDS = 4
# Of two cuts that save the same time the one with fewer parameters is better, a little.
_WEIGHT_OF_PARAMETERS = 0.1
# Times the budget: a plan that should lose so much more than it may ends the large steps.
_WELL_OUTSIDE = 1.5
# So do so many steps in a row that left more than this share of the cost.
_STALLED = 0.97
_MOST_STALLED = 2
# Rounding of a share of the cost that is exactly what was asked for.
_NEAR = 1 + 1e-9
# Of the budget, what the plans may spend that are there in case the best one fails.
_MILDER = (0.5, 0.7)


@dataclass(frozen=True)
class Target:
    """The ``share`` of the cost that is enough; zero: as little as the budget allows.

    ``int8``: the model will run in INT8, so latency is that of its INT8 form.
    """

    resource: Resource
    share: float = 0.0
    int8: bool = False


@dataclass(frozen=True)
class Tried:
    """A plan that was tried: what it leaves of the cost, and how it was judged.

    ``complete``: by all parts of the data; else it was so far inside the budget on the first that
    the search went on, and it is judged by the others before it is taken.
    """

    plan: Plan
    cost: Cost
    share: float
    judgement: Judgement
    verdict: Verdict
    complete: bool = True


@dataclass(frozen=True)
class Found:
    """The furthest plan inside the budget, empty where there is none, and all that were tried.

    ``less_aggressive``: what was found inside a part of the budget, where that is another plan,
    which may have a less aggressive one again; for data that judge more harshly than the search's.
    """

    plan: Plan
    tried: tuple[Tried, ...]
    reached: bool
    less_aggressive: Found | None = None


def search(
    problem: Problem,
    rankings: Sequence[GroupRanking],
    costs: CostModel,
    budget: Budget,
    target: Target,
    *,
    table: Costs,
    progress: Progress = silent,
) -> Found:
    """Find how many units of each group may go from the reference of ``problem``.

    ``costs`` counts multiply-adds and parameters, ``table`` knows how long kernels take.
    """
    return _Search(problem, rankings, costs, budget, target, table, progress).run()


class _Search:
    def __init__(  # noqa: PLR0917
        self,
        problem: Problem,
        rankings: Sequence[GroupRanking],
        costs: CostModel,
        budget: Budget,
        target: Target,
        table: Costs,
        progress: Progress,
    ) -> None:
        self._problem, self._rankings, self._costs = problem, rankings, costs
        self._table = table
        self._budget, self._target, self._progress = budget, target, progress
        self._folds = problem.data.folds(_FOLDS, problem.seed)
        self._tried: list[Tried] = []
        self._forms: list[tuple[Plan, Form]] = []
        (self._feed,) = timed_feeds(problem.data, model_inputs(problem.reference))

    def run(self) -> Found:
        """Large steps first, then smaller ones behind the best."""
        self._progress("measuring the influence of channels")
        self._influence = measure_influence(self._problem, self._rankings)
        self._explore()
        if not self._is_enough():
            self._refine()
        less_aggressive: Found | None = None
        for share in _MILDER:
            found = self._found(share_of(self._budget, share))
            if found.plan and (less_aggressive is None or found.plan != less_aggressive.plan):
                less_aggressive = replace(found, less_aggressive=less_aggressive)
        found = self._found(self._budget)
        if less_aggressive is not None and less_aggressive.plan == found.plan:
            less_aggressive = less_aggressive.less_aggressive
        return replace(found, less_aggressive=less_aggressive)

    def _found(self, budget: Budget) -> Found:
        best = self._best(budget)
        plan, share = (best.plan, best.share) if best else ({}, 1.0)
        reached = not self._target.share or share <= self._target.share * _NEAR
        return Found(plan, tuple(map(self._with_verdict, self._tried)), reached)

    def _explore(self) -> None:
        """Go on until a plan is well outside the budget, or little is saved any more."""
        plan: Plan = {}
        share, stalled = 1.0, 0
        while stalled < _MOST_STALLED and not self._is_enough():
            further = self._further(plan, share, _STEP)
            if further is None or further == plan:
                return
            tried = self._try(further, briefly=True)
            verdict = self._with_verdict(tried).verdict
            outside = not verdict.passed and (
                verdict.drop is None or verdict.drop > _WELL_OUTSIDE * self._budget.drop
            )
            if outside or tried.judgement.is_hopeless(self._budget):
                return
            if tried.share <= self._target.share * _NEAR:
                return
            stalled = stalled + 1 if self._left(tried, plan, share) > _STALLED else 0
            plan, share = further, tried.share

    def _refine(self) -> None:
        """Smaller and smaller steps from the best plan so far."""
        step = math.sqrt(_STEP)
        while step <= _SMALLEST_STEP and not self._is_enough():
            best = self._best()
            plan, share = (best.plan, best.share) if best else ({}, 1.0)
            further = self._further(plan, share, step)
            if further is None:
                return
            if all(tried.plan != further for tried in self._tried):
                self._try(further)
                if self._best() not in (best, None):
                    continue
            step = math.sqrt(step)

    def _further(self, plan: Plan, share: float, step: float) -> Plan | None:
        """The plan that leaves ``step`` of what ``plan`` leaves; none if hardly anything goes."""
        self._progress(f"measuring what cuts save, {share:.0%} left")
        wanted = max(step, self._target.share / share)
        chosen = allocate(self._offers(plan), wanted)
        left = math.prod(one.ratio for one in chosen if one is not None)
        if left > max(wanted, _SMALLEST_STEP):
            return None
        kept = select(self._problem, self._rankings, plan)
        now = {
            ranking.name: int(kept.units[ranking.units].sum()) - one.units
            for ranking, one in zip(self._rankings, chosen, strict=True)
            if one is not None
        }
        return {**plan, **now}

    def _try(self, plan: Plan, *, briefly: bool = False) -> Tried:
        """Cut, repair and judge by the plan; what was found is evidence from then on.

        ``briefly``: by the first part of the data alone, where that says that more can go.
        """
        self._progress("repairing and judging")
        kept = select(self._problem, self._rankings, plan)
        judgement, model, complete = self._judge(kept, briefly=briefly)
        share = self._measure_share(model, plan, kept)
        pending = Verdict(False, "not decided", None)
        cost = self._costs.count(kept)
        self._tried.append(Tried(plan, cost, share, judgement, pending, complete))
        return self._tried[-1]

    def _with_verdict(self, tried: Tried, budget: Budget | None = None) -> Tried:
        """The verdict by all the evidence that there is now."""
        evidence = [
            one.judgement
            for one in self._tried
            if one is tried or (one.complete and not one.judgement.is_hopeless(self._budget))
        ]
        evidence = evidence if tried.complete else [tried.judgement]
        verdict = decide(tried.judgement, evidence, budget or self._budget)
        return replace(tried, verdict=verdict)

    def _best(self, budget: Budget | None = None) -> Tried | None:
        """The cheapest plan that is inside the budget, by all parts of the data."""
        while True:
            inside = [one for one in self._tried if self._with_verdict(one, budget).verdict.passed]
            best = min(inside, key=lambda tried: tried.share, default=None)
            if best is None or best.complete:
                return best
            self._complete(best)

    def _complete(self, tried: Tried) -> None:
        """Judge by all parts of the data what was judged briefly."""
        kept = select(self._problem, self._rankings, tried.plan)
        judgement, _, _ = self._judge(kept)
        place = self._tried.index(tried)
        self._tried[place] = replace(tried, judgement=judgement, complete=True)

    def _is_enough(self) -> bool:
        best = self._best()
        return best is not None and best.share <= self._target.share * _NEAR

    def _left(self, tried: Tried, plan: Plan, share: float) -> float:
        """What a step left of the cost: mostly of what is saved on, a little of parameters."""
        before = self._costs.count(select(self._problem, self._rankings, plan)).parameters
        parameters = tried.cost.parameters / max(1, before)
        return float(tried.share / share * parameters**_WEIGHT_OF_PARAMETERS)

    def _judge(self, kept: Selection, *, briefly: bool = False) -> tuple[Judgement, ir.Model, bool]:
        """How models do on the data that they were not fitted on, and one of the models.

        Last whether all parts of the data were asked: not where the first says enough.
        """
        models: list[ir.Model] = []
        while True:
            judgement = self._judge_next(kept, models, 1 if not models else len(self._folds))
            complete = len(models) == len(self._folds)
            hopeless = judgement.is_hopeless(self._budget)
            if complete or hopeless or (briefly and judgement.is_far_inside(self._budget)):
                return judgement, models[0], complete or hopeless

    def _judge_next(self, kept: Selection, models: list[ir.Model], count: int) -> Judgement:
        """Fit further models, until there are ``count``, and judge all of them."""
        for others, _ in self._folds[len(models) : count]:
            models.append(cut_and_repair(replace(self._problem, data=others), kept))
        held_out = [part for _, part in self._folds[: len(models)]]
        return judge(
            self._problem.reference,
            list(zip(models, held_out, strict=True)),
            self._budget.metric,
            threads=self._problem.options.threads,
        )

    def _offers(self, plan: Plan) -> list[list[Cut]]:
        problem, rankings = self._problem, self._rankings
        kept = select(problem, rankings, plan)
        if self._target.resource != "latency":
            ratios = counted_ratios(self._costs, kept, self._target.resource)
            return offered_cuts(problem, rankings, plan, self._influence, ratios)
        parameters = counted_ratios(self._costs, kept, "parameters")
        form = self._form(plan)

        def predicted(selections: Sequence[Selection]) -> list[float]:
            models = (form(cut(problem, one)) for one in (kept, *selections))
            now, *times = self._table.latencies(models, self._feed)
            return [
                min(time / now, 1.0) * left**_WEIGHT_OF_PARAMETERS
                for time, left in zip(times, parameters(selections), strict=True)
            ]

        return offered_cuts(problem, rankings, plan, self._influence, predicted)

    def _measure_share(self, model: ir.Model, plan: Plan, kept: Selection) -> float:
        """What is left of the cost of the whole model."""
        problem = self._problem
        if self._target.resource != "latency":
            everything = problem.dependencies.everything()
            return counted_ratios(self._costs, everything, self._target.resource)([kept])[0]
        (left,) = self._table.latencies([self._form(plan)(model)], self._feed)
        return left / self._whole

    @cached_property
    def _whole(self) -> float:
        """Microseconds of the model that nothing was taken from."""
        whole = self._form({})(self._problem.reference)
        return self._table.latencies([whole], self._feed)[0]

    def _form(self, plan: Plan) -> Form:
        """What the model will be when it runs, decided for the channels that ``plan`` leaves."""
        if not self._target.int8:
            return as_float
        known = next((form for other, form in self._forms if other == plan), None)
        if known is None:
            problem = self._problem
            model = cut(problem, select(problem, self._rankings, plan))
            known = int8_form(model, problem.data, problem.options.threads, self._table)
            self._forms.append((plan, known))
        return known
