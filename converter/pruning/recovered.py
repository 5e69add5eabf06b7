"""Pruning as far as training can recover: ever smaller plans, and the smallest that still passes.

A plan is cut, refitted, and then trained for a short while to answer like the model that it was cut
from; whether it passes, the caller's judge says, by data that neither saw. One that passes before
it is trained is not trained to find that out: those are the large ones, which take longest. Half of
what is left to try goes with every answer. The smallest that passes is trained for longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import onnx_ir as ir

from converter.pruning.model import Pruned, known_plan, nothing_pruned, selected
from converter.pruning.prepare import Nothing, Prepared, PruneOptions
from converter.pruning.repair.refit import FULL, JUDGED
from converter.pruning.report import Schooling, TrainingReport, TriedReport
from converter.pruning.search.chain import SMALLEST_STEP, Link
from converter.pruning.search.plan import cut_and_repair
from converter.pruning.search.savings import Target
from quantizers.training.distill import Distilled, TrainingStopped
from runtimes.progress import Progress, silent

# A long training carries further than a short one: what a plan leaves of the last one that passed,
# to be tried behind it, and how many are; where one fails, the next leaves more.
_FURTHER = 0.6
_MOST_FURTHER = 3
# Likewise where a short training saved none, so that there is less hope.
_MOST_WITHOUT = 2
_WHOLE = Link({}, 1.0)
_NO_PLAN = "no plan passes after training"


class Trainer(Protocol):
    """What trains: ``quantizers.training.distill.Distiller``."""

    def train(self, student: ir.Model, steps: int | None = None) -> Distilled:
        """The better of the student and what it becomes in so many steps."""


@dataclass(frozen=True)
class Judged:
    """What the caller's judge says of a model."""

    passed: bool
    reason: str


@dataclass(frozen=True)
class Recovery:
    """How pruned models are trained, and who says whether they pass.

    Attributes:
        trainer: Learns from the model that is pruned.
        judge: Whether a model is inside the budget, on data that training never sees.
        trial_steps: For each plan that is tried.
        final_steps: For the one that is taken.
    """

    trainer: Trainer
    judge: Callable[[ir.Model], Judged]
    trial_steps: int = 300
    final_steps: int = 1500


def prune_and_recover(
    prepared: Prepared | Nothing,
    recovery: Recovery,
    *,
    options: PruneOptions,
    schooling: Schooling | None = None,
    progress: Progress = silent,
) -> Pruned:
    """Remove channels as far as training recovers what is lost.

    ``options.plan`` and ``schooling``: the decisions of an earlier run, carried out again. The
    result is not ``kept`` where no plan passes. Raises ``DataError`` for a plan of another model,
    and what training raises.
    """
    if isinstance(prepared, Nothing):
        return nothing_pruned(prepared)
    make = _Make(prepared, recovery, progress)
    if options.plan is not None:
        plan = known_plan(options.plan, prepared.problem)
        schooling = schooling or Schooling(recovery.final_steps)
        return _pruned(make, options.target, [make(Link(plan, 1.0), schooling)], ())
    tried = _Search(make, options).run()
    prepared.problem.reference_rows.clear()
    passed = sorted((one for one in tried if one.judged.passed), key=lambda one: one.rank)
    return _pruned(make, options.target, passed, tuple(one.report for one in tried))


@dataclass(frozen=True)
class _Trial:
    """A plan that was tried: the model, and what the judge says of it.

    ``training``: None where it passed without any.
    """

    link: Link
    model: ir.Model
    judged: Judged
    report: TriedReport
    training: TrainingReport | None

    @property
    def rank(self) -> tuple[float, int]:
        """The smallest first, and of one plan the one that was trained for longest."""
        return self.report.share, -self.training.asked if self.training else 0


@dataclass(frozen=True)
class _Make:
    """Cuts, refits, trains and judges."""

    prepared: Prepared
    recovery: Recovery
    progress: Progress

    def trial(self, link: Link) -> _Trial:
        """A short training, if it takes one."""
        return self(link, Schooling(self.recovery.trial_steps, False), if_needed=True)

    def __call__(self, link: Link, schooling: Schooling, *, if_needed: bool = False) -> _Trial:
        prepared, recovery = self.prepared, self.recovery
        self.progress(f"cutting and training, {link.share:.0%} left")
        kept = selected(prepared, link.plan)
        effort = FULL if schooling.refitted else JUDGED
        cut = cut_and_repair(prepared.problem, kept, effort)
        if if_needed and (judged := recovery.judge(cut)).passed:
            reason = f"{judged.reason}, before any training"
            return self._trial(link, cut, replace(judged, reason=reason), None)
        distilled = recovery.trainer.train(cut, schooling.steps)
        training = TrainingReport(
            schooling.steps,
            distilled.steps,
            distilled.before,
            distilled.after,
            schooling.refitted,
            distilled.reason,
        )
        return self._trial(link, distilled.model, recovery.judge(distilled.model), training)

    def _trial(
        self, link: Link, model: ir.Model, judged: Judged, training: TrainingReport | None
    ) -> _Trial:
        count = self.prepared.costs.count(selected(self.prepared, link.plan))
        tried = TriedReport(
            macs=count.macs,
            parameters=count.parameters,
            share=link.share,
            drop=None,
            agreement=None,
            passed=judged.passed,
            reason=judged.reason,
        )
        return _Trial(link, model, judged, tried, training)


class _Search:
    """Halves the chain of plans with every answer, then trains what is left for longer."""

    def __init__(self, make: _Make, options: PruneOptions) -> None:
        self._make, self._recovery, self._resource = make, make.recovery, options.target.resource
        self._least = options.target.share
        make.progress("measuring the influence of channels")
        self._cuts = make.prepared.cuts
        self._tried: list[_Trial] = []

    def run(self) -> list[_Trial]:
        """All that were tried, until the user has enough."""
        with suppress(TrainingStopped):
            self._search()
        return self._tried

    def _search(self) -> None:
        self._make.progress("measuring what cuts save")
        links = list(self._cuts.chain(self._resource, self._least))
        if self._least:  # no further than what is asked for
            self._towards(links)
            return
        low, high = -1, len(links)
        while high - low > 1:
            middle = (low + high) // 2
            passed = self._tells(self._make.trial(links[middle]))
            low, high = (middle, high) if passed else (low, middle)
        if low >= 0:
            self._to_the_end(links[low], _MOST_FURTHER)
        elif links:
            self._to_the_end(_WHOLE, _MOST_WITHOUT)

    def _towards(self, links: list[Link]) -> None:
        """What is asked for, and ever less where that does not pass."""
        for link in reversed(links):
            if self._try(link, Schooling(self._recovery.final_steps)):
                break

    def _to_the_end(self, link: Link, most: int) -> None:
        """Train for long: at ``most`` so many plans behind ``link``, or else that one."""
        final = Schooling(self._recovery.final_steps)
        share, refused, passed, tries = _FURTHER, 0.0, False, 0
        while tries < most and share <= SMALLEST_STEP:
            found = self._cuts.behind(link.plan, share, self._resource)
            if found is None:
                break
            further = Link(found[0], link.share * found[1])
            if further.share <= refused:  # channels go in blocks: that is as far as what failed
                share = math.sqrt(share)
                continue
            tries += 1
            if self._try(further, final):
                link, passed, most = further, True, _MOST_FURTHER  # there is hope, after all
            else:
                share, refused = math.sqrt(share), further.share
        if not passed and link.plan:
            self._try(link, final)

    def _try(self, link: Link, schooling: Schooling) -> bool:
        return self._tells(self._make(link, schooling))

    def _tells(self, trial: _Trial) -> bool:
        self._tried.append(trial)
        return trial.judged.passed


def _pruned(
    make: _Make, target: Target, best: Sequence[_Trial], tried: tuple[TriedReport, ...]
) -> Pruned:
    """The first of ``best``; the others are what spends less of the budget."""
    prepared = make.prepared
    if not best:
        why = f"{_NO_PLAN}: {tried[-1].reason}" if tried else "no cut saves anything here"
        everything = prepared.problem.dependencies.everything()
        report = prepared.report({}, everything, why, tried, not target.share)
        return Pruned(prepared.exact, prepared.exact, report)
    trial, *others = best
    if trial.training is None:  # what ships is trained
        trial = _trained(make, trial)
    plan, share = trial.link.plan, trial.report.share
    kept = selected(prepared, plan)
    reached = not target.share or share <= target.share * (1 + 1e-9)
    report = prepared.report(plan, kept, _described(prepared.saved(kept), trial), tried, reached)
    milder = [one for one in others if one.report.share > share]
    return Pruned(
        trial.model,
        prepared.exact,
        replace(report, training=trial.training),
        partial(_pruned, make, target, milder, tried) if milder else None,
    )


def _trained(make: _Make, trial: _Trial) -> _Trial:
    """``trial`` after a short training, unless the user has enough of them."""
    with suppress(TrainingStopped):
        return make(trial.link, Schooling(make.recovery.trial_steps, False))
    return trial


def _described(saved: str, trial: _Trial) -> str:
    training = trial.training
    if training is None:
        return saved
    if not training.steps:
        return f"{saved}, and training made it no better"
    return f"{saved}, trained in {training.steps} steps"
