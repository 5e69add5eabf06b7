"""Pruning as far as training can recover: ever smaller plans, and the smallest that still passes.

A plan is cut, refitted, and then trained to answer like the model that it was cut from; whether it
passes, the caller's judge says, by data that neither saw. One that passes before it is trained is
not trained to find that out: those are the large ones, which take longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from converter.pruning.model import Pruned, known_plan, nothing_pruned, selected
from converter.pruning.prepare import Nothing, Prepared, PruneOptions
from converter.pruning.recovery_search import Search
from converter.pruning.report import Schooling, TriedReport
from converter.pruning.search.chain import Link
from converter.pruning.search.savings import Target
from converter.pruning.trials import Recovery, Trial, Trials
from quantizers.training.distill import TrainingStopped
from runtimes.progress import Progress, silent

_NO_PLAN = "no plan passes after training"


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
    trials = Trials(prepared, recovery, progress)
    if options.plan is not None:
        plan = known_plan(options.plan, prepared.problem)
        schooling = schooling or Schooling(recovery.rounds)
        return _pruned(trials, options.target, [trials.repeated(Link(plan, 1.0), schooling)], ())
    search = Search(trials, options)
    found = search.run()
    prepared.problem.reference_rows.clear()
    return _pruned(trials, options.target, found, tuple(one.report for one in search.tried))


def _pruned(
    trials: Trials, target: Target, best: Sequence[Trial], tried: tuple[TriedReport, ...]
) -> Pruned:
    """The first of ``best``; the others are what spends less of the budget."""
    prepared = trials.prepared
    if not best:
        why = f"{_NO_PLAN}: {tried[-1].reason}" if tried else "no cut saves anything here"
        everything = prepared.problem.dependencies.everything()
        report = prepared.report({}, everything, why, tried, not target.share)
        return Pruned(prepared.exact, prepared.exact, report)
    trial, *others = best
    if trial.training is None:  # what ships is trained
        with suppress(TrainingStopped):
            trial = trials.further(trial)
    plan, share = trial.link.plan, trial.report.share
    kept = selected(prepared, plan)
    reached = not target.share or share <= target.share * (1 + 1e-9)
    report = prepared.report(plan, kept, _described(prepared.saved(kept), trial), tried, reached)
    milder = [one for one in others if one.report.share > share]
    return Pruned(
        trial.model,
        prepared.exact,
        replace(report, training=trial.training),
        partial(_pruned, trials, target, milder, tried) if milder else None,
    )


def _described(saved: str, trial: Trial) -> str:
    training = trial.training
    if training is None:
        return saved
    if not training.steps:
        return f"{saved}, and training made it no better"
    return f"{saved}, trained in {training.steps} steps"
