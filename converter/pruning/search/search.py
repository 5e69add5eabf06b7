"""How far to prune: further and further, until the budget or a target says enough.

Every step makes the model cheaper by a share, by the cuts that add least error for what they
save. Every plan is judged on data that the judged weights have not seen: four models are cut
alike, each fitted on three quarters of the data and judged on the rest; where the first is far
inside the budget, the others wait until that plan is to be taken. Large steps go on until one is
well outside the budget; smaller ones then look for more behind the best that is inside. What is
left of the budget when nothing gets faster any more goes into size.

No clock is read: latency comes from the cost table, so the same table finds the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from converter.pruning.groups.selection import Selection
from converter.pruning.search.attempts import Attempt, Attempts, Tried
from converter.pruning.search.bracket import NEAR, Bracket
from converter.pruning.search.chain import STEP, WHOLE, Cuts, Link
from converter.pruning.search.folds import Folds
from converter.pruning.search.limits import NO_LIMITS, SearchLimits
from converter.pruning.search.plan import Plan, cut, select
from converter.pruning.search.savings import Resource, Target, weighed
from runtimes.parity.budget import Budget
from runtimes.progress import Progress, silent

# Times the budget: a plan that should lose so much more than it may ends the large steps.
_WELL_OUTSIDE = 1.5
# So do so many steps in a row that left more than this share of the cost.
_STALLED = 0.97
_MOST_STALLED = 2
# What small steps leave where nothing better is known: roots of a large one.
_SMALL_STEPS = (STEP**0.5, STEP**0.25)
# How many of them look for parameters that may go where nothing gets faster any more.
_STEPS_FOR_SIZE = 2
# Where between two plans the next one lies, however the budget is spent: not too near to either.
_BETWEEN = (0.3, 0.85)
_LEAST_SPENT = 1e-3
# Rounding of a share of the cost that is exactly what was asked for.
_NEAR = 1 + 1e-9


@dataclass(frozen=True)
class Found:
    """The furthest plan inside the budget, empty where there is none, and all that were tried.

    ``stopped``: what ended the search early, ``plans`` or ``clock`` of its limits.
    For data that judge more harshly than the search's: ``less_aggressive`` gives what leaves more,
    where they refuse this one, and ``between`` what leaves less, where they take it but refused
    another one; both give None where there is nothing of the kind.
    """

    plan: Plan
    tried: tuple[Tried, ...]
    reached: bool
    stopped: str = ""
    less_aggressive: Callable[[], Found | None] | None = None
    between: Callable[[], Found | None] | None = None


def search(
    cuts: Cuts,
    budget: Budget,
    target: Target,
    *,
    limits: SearchLimits = NO_LIMITS,
    progress: Progress = silent,
) -> Found:
    """Find how many units of each group may go from the reference of the problem of ``cuts``."""
    return _Search(cuts, budget, target, limits, progress).run()


class _Search:
    def __init__(
        self,
        cuts: Cuts,
        budget: Budget,
        target: Target,
        limits: SearchLimits,
        progress: Progress,
    ) -> None:
        self._cuts, self._savings = cuts, cuts.savings
        self._budget, self._target = budget, target
        self._progress = progress
        self._limits, self._stopped = limits, ""
        self._folds = Folds(cuts.problem, budget.metric)
        self._tried = Attempts(budget)

    def run(self) -> Found:
        """Large steps first, then smaller ones behind the best."""
        self._explore()
        steps = self._limits.small_steps
        self._refine(self._target.resource, self._budget, steps)
        if self._target.resource == "latency" and not self._target.share:
            self._refine("parameters", self._budget, min(steps, _STEPS_FOR_SIZE))
        best = self._tried.best()
        self._folds.clear()  # the way to milder plans keeps this alive, and is seldom taken
        if best is None:
            return Found({}, self._tried.tried(), self._reaches(1.0), self._stopped)
        return self._found(Link(best.plan, best.share), Bracket())

    def _found(self, link: Link, bracket: Bracket) -> Found:
        """The plan of ``link``, and the ways on from there once other data have judged it."""
        return Found(
            link.plan,
            self._tried.tried(),
            self._reaches(link.share),
            self._stopped,
            self._way(bracket.refuses(link.share)),
            self._way(bracket.holds(link.share)),
        )

    def _way(self, bracket: Bracket) -> Callable[[], Found | None] | None:
        return None if bracket.wanted is None else partial(self._go, bracket, bracket.wanted)

    def _go(self, bracket: Bracket, wanted: float) -> Found | None:
        """A plan that leaves about ``wanted``; only other data can judge it."""
        base = min(self._larger(wanted), key=lambda one: one.share)
        resource = self._target.resource
        found = self._cuts.behind(base.plan, wanted / base.share, resource)
        if found is not None:
            cut_model = cut(self._cuts.problem, self._selected(found[0]))
            base = Link(found[0], self._savings.share(cut_model, found[0], base.plan))
        return self._found(base, bracket) if bracket.has_between(base.share) else None

    def _larger(self, share: float) -> Iterator[Link]:
        """Plans inside the budget, and the whole model, that leave ``share`` at least."""
        yield WHOLE
        for one in self._tried:
            if one.share >= share and self._tried.verdict(one).passed:
                yield Link(one.plan, one.share)

    def _reaches(self, share: float) -> bool:
        return not self._target.share or share <= self._target.share * _NEAR

    def _explore(self) -> None:
        """Go on until a plan is well outside the budget, or little is saved any more."""
        plan: Plan = {}
        share, stalled = 1.0, 0
        while stalled < _MOST_STALLED and not self._is_enough():
            further = self._further(plan, share, STEP, self._target.resource)
            if further is None or further == plan:
                return
            tried = self._try(further, plan, briefly=True)
            verdict = self._tried.verdict(tried)
            outside = not verdict.passed and (
                verdict.drop is None or verdict.drop > _WELL_OUTSIDE * self._budget.drop
            )
            if outside or tried.judgement.is_hopeless(self._budget):
                return
            if self._target.share and self._reaches(tried.share):
                return
            stalled = stalled + 1 if self._left(tried, plan, share) > _STALLED else 0
            plan, share = further, tried.share

    def _refine(self, resource: Resource, budget: Budget, most: int) -> None:
        """Smaller steps from the best plan so far, to where ``budget`` should be spent."""
        for _ in range(most):
            if self._is_enough():
                return
            found = self._next(resource, budget)
            if found is None:
                return
            self._try(*found)

    def _next(self, resource: Resource, budget: Budget) -> tuple[Plan, Plan] | None:
        """The next plan behind the best one that was not tried yet, if any, and the best one."""
        best = self._tried.best(budget)
        plan, share = (best.plan, best.share) if best else ({}, 1.0)
        for step in self._next_steps(best, resource, budget):
            further = self._further(plan, share, step, resource)
            if further is not None and all(tried.plan != further for tried in self._tried):
                return further, plan
        return None

    def _next_steps(
        self, best: Attempt | None, resource: Resource, budget: Budget
    ) -> Sequence[float]:
        """What the next step is to leave of what ``best`` leaves; none where it hardly matters.

        The share of the budget that a plan spends grows about as a power of what it saves, so
        the best plan and the nearest one outside tell where all of it is spent. What a plan
        outside saves beside what is asked for says nothing of that.
        """
        if resource != self._target.resource:
            return _SMALL_STEPS
        here = 1.0 if best is None else best.share
        outside = [
            one
            for one in self._tried
            if one.share < here and not self._tried.verdict(one, budget).passed
        ]
        if not outside:
            return _SMALL_STEPS
        nearest = max(outside, key=lambda one: one.share)
        ratio = nearest.share / here
        if ratio > NEAR:
            return ()
        low = max(_LEAST_SPENT, 0.0 if best is None else self._tried.verdict(best, budget).spent)
        high = max(1.0, min(self._tried.verdict(nearest, budget).spent, 1 / _LEAST_SPENT))
        part = math.log(1 / low) / math.log(high / low) if high > low else 0.5
        between = math.pow(ratio, min(max(part, _BETWEEN[0]), _BETWEEN[1]))
        return (between, *_SMALL_STEPS)

    def _further(self, plan: Plan, share: float, step: float, resource: Resource) -> Plan | None:
        """The plan that leaves ``step`` of what ``plan`` leaves; none if hardly anything goes."""
        self._progress("measuring what cuts save")
        found = self._cuts.behind(plan, max(step, self._target.share / share), resource)
        return None if found is None else found[0]

    def _try(self, plan: Plan, before: Plan, *, briefly: bool = False) -> Attempt:
        """Cut, repair and judge by the plan, ``briefly`` where little has to be known of it.

        ``before``: the plan that it goes on from.
        """
        self._progress("repairing and judging cuts", len(self._tried) + 1, self._limits.plans)
        trial, model = self._folds.begin(self._selected(plan))
        share = self._savings.share(model, plan, before)
        attempt = Attempt(plan, self._savings.count(plan), share, trial)
        self._tried.add(attempt, briefly=briefly)
        return attempt

    def _selected(self, plan: Plan) -> Selection:
        return select(self._cuts.problem, self._cuts.rankings, plan)

    def _is_enough(self) -> bool:
        """Whether a target or a limit is met; without any there is always more to go for."""
        self._stopped = self._stopped or self._limits.stop_after(len(self._tried))
        if self._stopped:
            return True
        if not self._target.share:
            return False
        best = self._tried.best()
        return best is not None and self._reaches(best.share)

    def _left(self, tried: Attempt, plan: Plan, share: float) -> float:
        """What a step left of the cost: mostly of what is saved on, a little of parameters."""
        before = self._savings.count(plan).parameters
        return weighed(tried.share / share, tried.cost.parameters / max(1, before))
