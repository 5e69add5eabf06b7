"""Plans that are tried: cut, refitted, trained in rounds, and judged after each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import onnx_ir as ir

from converter.pruning.model import selected
from converter.pruning.prepare import Prepared
from converter.pruning.repair.refit import FULL, JUDGED
from converter.pruning.report import Schooling, TrainingReport, TriedReport
from converter.pruning.search.chain import Link
from converter.pruning.search.plan import cut_and_repair
from quantizers.training.distill import Distilled
from runtimes.progress import Progress

# How many rounds every plan may have, however large it is.
_ALWAYS = 2


class Trainer(Protocol):
    """What trains: ``quantizers.training.distill.Distiller``."""

    def train(self, student: ir.Model, steps: int | None = None, after: int = 0) -> Distilled:
        """The better of the student and what it becomes in so many steps, ``after`` others."""


@dataclass(frozen=True)
class Judged:
    """What the caller's judge says of a model.

    ``spent``: how much of the budget the loss takes, 1: all of it; None where nothing says.
    ``deviation``: the standard error of that, because samples are few; 0 where it is sure.
    """

    passed: bool
    reason: str
    spent: float | None = None
    deviation: float = 0.0


@dataclass(frozen=True)
class Recovery:
    """How pruned models are trained, and who says whether they pass.

    Attributes:
        trainer: Learns from the model that is pruned.
        judge: Whether a model is inside the budget, on data that training never sees.
        rounds: Steps of each round of training; a plan gets the next one where the last one left
            it outside the budget, but not far.
        most_work: Multiply-adds of a sample times steps: rounds behind the second that take more
            are left out.
    """

    trainer: Trainer
    judge: Callable[[ir.Model], Judged]
    rounds: tuple[int, ...] = (150, 600, 1000, 1000)
    most_work: float = 4e9

    def rounds_of(self, macs: int) -> tuple[int, ...]:
        """The rounds for a plan that leaves so many multiply-adds a sample."""
        return tuple(
            steps
            for place, steps in enumerate(self.rounds)
            if place < _ALWAYS or steps * macs <= self.most_work
        )


@dataclass(frozen=True)
class Trial:
    """A plan that was tried: the model, what the judge says of it, and how it was trained."""

    link: Link
    model: ir.Model = field(repr=False)
    judged: Judged
    report: TriedReport
    training: TrainingReport | None = None

    @property
    def rounds(self) -> tuple[int, ...]:
        """The steps of each round that it was trained in."""
        return self.training.rounds if self.training else ()

    @property
    def rank(self) -> tuple[float, int]:
        """The smallest first, and of one plan the one that was trained for longest."""
        return self.report.share, -sum(self.rounds)


@dataclass(frozen=True)
class Trials:
    """Cuts, refits, trains and judges."""

    prepared: Prepared
    recovery: Recovery
    progress: Progress

    def cut(self, link: Link) -> Trial:
        """The plan as it is without training."""
        model = self._cut(link, refitted=False)
        judged = self.recovery.judge(model)
        if judged.passed:
            judged = replace(judged, reason=f"{judged.reason}, before any training")
        return self._trial(link, model, judged, None)

    def further(self, trial: Trial, *, extra: bool = False) -> Trial:
        """The same after the next round, or an ``extra`` one as long as the second."""
        rounds = self.recovery.rounds_of(trial.report.macs)
        steps = rounds[min(1 if extra else len(trial.rounds), len(rounds) - 1)]
        model, training = self._trained(trial.model, trial.training, steps, refitted=False)
        return self._trial(trial.link, model, self.recovery.judge(model), training)

    def repeated(self, link: Link, schooling: Schooling) -> Trial:
        """A plan of an earlier run, trained as it was then."""
        model, training = self._cut(link, refitted=schooling.refitted), None
        for steps in schooling.rounds:
            model, training = self._trained(model, training, steps, refitted=schooling.refitted)
        return self._trial(link, model, self.recovery.judge(model), training)

    def _cut(self, link: Link, *, refitted: bool) -> ir.Model:
        self.progress(f"cutting and training, {link.share:.0%} left")
        kept = selected(self.prepared, link.plan)
        return cut_and_repair(self.prepared.problem, kept, FULL if refitted else JUDGED)

    def _trained(
        self, model: ir.Model, before: TrainingReport | None, steps: int, *, refitted: bool
    ) -> tuple[ir.Model, TrainingReport]:
        done = before.asked if before else 0
        found = self.recovery.trainer.train(model, steps, done)
        best = done + found.steps if found.steps or before is None else before.steps
        report = TrainingReport(
            done + steps,
            best,
            before.before if before else found.before,
            found.after,
            refitted,
            found.reason,
            (*(before.rounds if before else ()), steps),
        )
        return found.model, report

    def _trial(
        self, link: Link, model: ir.Model, judged: Judged, training: TrainingReport | None
    ) -> Trial:
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
        return Trial(link, model, judged, tried, training)
