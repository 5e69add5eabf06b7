"""Pruning in rounds until the budget or a target stops it.

A round ranks the units of every group, measures what cuts would save and spoil, takes the best
ones until a share of the cost is gone, and repairs what is left. Whether the round was one too
many is judged on data that the judged weights have not seen: four further copies of the model
are cut alike, each fitted on three quarters of the data and judged on the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import onnx_ir as ir

from converter.judge import Budget
from converter.pruning.allocation import Cut, allocate
from converter.pruning.cost import Cost, CostModel
from converter.pruning.dependencies import Selection
from converter.pruning.objective import Judgement, judge
from converter.pruning.ranking import GroupRanking, Importance, rank_groups
from converter.pruning.repair import repair
from converter.pruning.sensitivity import (
    WEIGHT_OF_PARAMETERS,
    State,
    Stopwatch,
    counted_ratio,
    cut,
    measure_influence,
    offered_cuts,
    timed_ratio,
)
from converter.pruning.sums import Problem

Resource = Literal["latency", "macs", "parameters"]
Round = Mapping[str, int]
"""Units that stay of each group that the round cut, by the name of the group's first maker."""

_SHRINK = 0.65
_LEAST_SHRINK = 0.92
_FOLDS = 4
_SECONDS_A_ROUND = 0.5
# The search ends after so many rounds in a row that left more than this share of the cost.
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
    """A round that was tried: its cuts, what was left of the cost, and how it was judged."""

    cuts: Round
    cost: Cost
    share: float
    judgement: Judgement


@dataclass(frozen=True)
class Found:
    """The best model inside the budget, the rounds that lead to it, and all that were tried."""

    state: State
    rounds: tuple[Round, ...]
    tried: tuple[Tried, ...]
    reached: bool


def search(
    problem: Problem,
    budget: Budget,
    target: Target,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> Found:
    """Prune the reference of ``problem`` until the target is met or the budget allows no more."""
    return _Search(problem, budget, target, progress).run()


class _Search:
    def __init__(
        self,
        problem: Problem,
        budget: Budget,
        target: Target,
        progress: Callable[[str], None],
    ) -> None:
        self._problem, self._budget, self._target = problem, budget, target
        self._progress = progress
        self._costs = CostModel(problem.reference, problem.dependencies, problem.data)
        self._whole = self._costs.count(problem.dependencies.everything())
        self._state = State(problem.reference, problem.dependencies.everything())
        folds = problem.data.folds(_FOLDS, problem.seed)
        self._held_out = [part for _, part in folds]
        self._problems = [replace(problem, data=others) for others, _ in folds]
        self._copies = [self._state] * len(folds)
        self._influence: dict[str, float] | None = None
        self._rounds: list[Round] = []
        self._tried: list[Tried] = []
        self._share, self._shrink, self._stalled = 1.0, _SHRINK, 0

    def run(self) -> Found:
        """Rounds, until one too many even of the smallest size."""
        while self._share > self._target.share * _NEAR and self._shrink <= _LEAST_SHRINK:
            if not self._round() or self._stalled == _MOST_STALLED:
                break
        reached = self._share <= self._target.share * _NEAR
        return Found(self._state, tuple(self._rounds), tuple(self._tried), reached)

    def _round(self) -> bool:
        """Cut further; returns whether something was left to cut inside the budget."""
        title = f"pruning, round {len(self._rounds) + 1}"
        self._progress(f"{title}: ranking channels")
        rankings = rank_groups(self._problem, self._state.model, self._state.kept)
        if self._influence is None:
            self._influence = measure_influence(self._problem, self._state, rankings)
        self._progress(f"{title}: measuring what cuts save")
        offers = self._offers(rankings)
        while self._shrink <= _LEAST_SHRINK:
            wanted = max(self._shrink, self._target.share / self._share)
            chosen = allocate(offers, wanted)
            cuts = {
                ranking.group.makers[0]: len(ranking.units) - one.units
                for ranking, one in zip(rankings, chosen, strict=True)
                if one is not None
            }
            left = math.prod(one.ratio for one in chosen if one is not None)
            if not cuts or left > max(wanted, _LEAST_SHRINK):
                return False  # what could still go saves next to nothing
            self._progress(f"{title}: repairing and judging")
            if self._attempt(rankings, cuts):
                return True
            self._shrink = math.sqrt(self._shrink)
        return False

    def _attempt(self, rankings: Sequence[GroupRanking], cuts: Round) -> bool:
        """Make a round with all copies and keep it if it is inside the budget."""
        kept = selection_of(self._state, rankings, cuts)
        copies: list[State] = []
        for problem, copy in zip(self._problems, self._copies, strict=True):
            copies.append(cut_and_repair(problem, copy, kept))
            pairs = zip([done.model for done in copies], self._held_out, strict=False)
            judgement = judge(
                self._problem.reference,
                list(pairs),
                self._budget,
                threads=self._problem.options.threads,
            )
            if judgement.is_hopeless(self._budget):
                break
        share = self._measure_share(copies[0].model, kept)
        self._tried.append(Tried(cuts, self._costs.count(kept), share, judgement))
        if judgement.passed:
            left = share / self._share * self._parameters_left(kept) ** WEIGHT_OF_PARAMETERS
            self._stalled = self._stalled + 1 if left > _STALLED else 0
            self._state = cut_and_repair(self._problem, self._state, kept)
            self._copies, self._share = copies, share
            self._rounds.append(cuts)
        return judgement.passed

    def _offers(self, rankings: Sequence[GroupRanking]) -> list[list[Cut]]:
        assert self._influence is not None
        resource = self._target.resource
        if resource != "latency":
            ratio = counted_ratio(self._costs, self._state.kept, resource)
            return offered_cuts(self._state, rankings, self._influence, ratio)
        data, threads = self._problem.data, self._problem.options.threads
        with Stopwatch(self._state.model, data, threads) as watch:
            ratio = timed_ratio(self._problem, self._state, self._costs, watch)
            return offered_cuts(self._state, rankings, self._influence, ratio)

    def _parameters_left(self, kept: Selection) -> float:
        return counted_ratio(self._costs, self._state.kept, "parameters")(kept)

    def _measure_share(self, model: ir.Model, kept: Selection) -> float:
        if self._target.resource != "latency":
            everything = self._problem.dependencies.everything()
            return counted_ratio(self._costs, everything, self._target.resource)(kept)
        data, threads = self._problem.data, self._problem.options.threads
        with Stopwatch(self._problem.reference, data, threads) as watch:
            return watch.ratio(model, _SECONDS_A_ROUND)


def replay(
    problem: Problem, rounds: Sequence[Round], importance: Importance = "second-order"
) -> State:
    """Make the rounds of an earlier search again, without judging or timing anything."""
    state = State(problem.reference, problem.dependencies.everything())
    for cuts in rounds:
        rankings = rank_groups(problem, state.model, state.kept, importance)
        state = cut_and_repair(problem, state, selection_of(state, rankings, cuts))
    return state


def selection_of(state: State, rankings: Sequence[GroupRanking], cuts: Round) -> Selection:
    """The selection that is left when each group is cut down as ``cuts`` say."""
    kept = state.kept
    for ranking in rankings:
        stays = cuts.get(ranking.group.makers[0])
        if stays is not None:
            kept = kept.without(ranking.units[: max(0, len(ranking.units) - stays)])
    return kept


def cut_and_repair(problem: Problem, state: State, kept: Selection) -> State:
    """The state after a round."""
    model = cut(problem, state, kept)
    repair(problem, model, kept)
    return State(model, kept)
