"""Trying the steps of ``compress``: each is measured, then kept or rolled back with a reason.

A step that turns out to be outside the budget may have a less aggressive outcome, which is tried
before it is given up. Where a later step is outside, the budget that is left may be what is
missing: then an earlier step that was kept is done less aggressively too, and the better of both
ways is taken.

A step that fails is rolled back like one that does not pay: the model before it is as right as it
was, and the other steps go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

import onnx_ir as ir

from converter.compression.decisions import Decisions
from converter.compression.gain import lost_race, lost_to_another
from converter.compression.judge import Judge
from converter.compression.steps import Outcome, Step, StepContext
from converter.compression.users_errors import refused_by_machine_or_data
from converter.report.report import Measured, StepReport
from runtimes.defects import Defect, contain
from runtimes.errors import BudgetError, KilnxError, ModelError, RuntimeUnavailable
from runtimes.onnx_files.load_save import load_model, write_model
from runtimes.parity.report import ParityReport
from runtimes.progress import within

# Weights in fewer bits take what is left of the budget; nothing faster is undone for them.
_NOT_WORTH_GOING_BACK = ("weights",)
# A twentieth of the noise.
_LITTLE_DB = 0.2


_Way = Callable[[], Outcome | None]


@dataclass(frozen=True)
class Candidate:
    """A graph, the file that holds it, and how it measured.

    ``pruned``: the file of the float model that has its channels, where those were pruned.
    ``parity``: how it was judged, next to fp32.
    """

    model: ir.Model
    path: Path
    measured: Measured
    pruned: Path | None = None
    parity: ParityReport | None = None


@dataclass(frozen=True)
class _Attempt:
    """What a step came to: the better model of the two, and whether the budget stood against it.

    ``less_aggressive``: what the step offers in place of what it made; ``between``: what it offers
    where this held and something more aggressive did not. ``inside``: what is inside the budget and
    leaves too little of it for what comes next.
    """

    best: Candidate
    report: StepReport
    outside: bool
    less_aggressive: _Way | None = None
    between: _Way | None = None
    inside: Outcome | None = None


@dataclass(frozen=True)
class _Retreat:
    """A step that was kept, the model it began with, and the step done less aggressively."""

    place: int
    before: Candidate
    less_aggressive: _Way


def run_steps(
    steps: Mapping[str, Step],
    context: StepContext,
    first: Candidate,
    judge: Judge,
    replay: Mapping[str, bool] | None,
) -> tuple[Candidate, tuple[StepReport, ...]]:
    """Run ``steps`` in order on ``first``; what came out best, and one report a step.

    ``replay``: decisions by step in place of deciding. Raises ``BudgetError`` where they keep
    what is outside the budget.
    """
    best, reports = first, list[StepReport]()
    retreat: _Retreat | None = None
    is_users = partial(_is_users, context=context, judge=judge)
    run = context.run
    for number, (name, step) in enumerate(steps.items(), 1):
        whole = f"{name} ({number} of {len(steps)})"
        told = replace(run, progress=within(run.tell, whole))
        context = replace(context, run=told, trained=any(map(_is_trained, reports)))
        context.run.tell("looking for candidates")
        before = best
        attempt: _Attempt | Defect
        attempt = contain(name, partial(_run, name, step, before, context, judge, replay), is_users)
        if isinstance(attempt, Defect):
            attempt = _failed(name, before, attempt)
        milder_is_there = replay is None and attempt.less_aggressive is not None
        way: tuple[_Attempt, _Attempt] | Defect | None = None
        for turn in _turns(attempt, before, milder=milder_is_there, name=name):
            if turn == "milder":
                milder = partial(_less_aggressive, name, attempt, before, judge)
                less = contain(name, milder, is_users)
                attempt = _noted(attempt, less) if isinstance(less, Defect) else less
            elif retreat is not None:
                back = partial(_go_back, name, step, reports, retreat, context, judge, attempt.best)
                way = contain(f"{name}, tried after less of what went before,", back, is_users)
                if isinstance(way, Defect):
                    attempt = _noted(attempt, way)
                elif way is not None:
                    reports[retreat.place], attempt, retreat = way[0].report, way[1], None
                    break
        if attempt.inside is not None:
            attempt = _attempt(name, replace(attempt.inside, share=1.0), before, judge, replay)
        again = attempt.less_aggressive if replay is None else None
        if attempt.report.kept and again is not None:
            retreat = _Retreat(len(reports), before, again)
        best = attempt.best
        reports.append(attempt.report)
    return best, tuple(reports)


def _is_trained(report: StepReport) -> bool:
    return report.kept and bool(report.details.get("training"))


_Turn = Literal["milder", "back"]


def _turns(attempt: _Attempt, before: Candidate, *, milder: bool, name: str) -> Sequence[_Turn]:
    """What is tried in place of what was refused: less of it, and less of what went before.

    Where hardly any of the noise is the step's own, less of it would most likely be refused, too.
    """
    if not attempt.outside:
        return ()
    turns: list[_Turn] = ["milder"] if milder else []
    if name in _NOT_WORTH_GOING_BACK:
        return turns
    return ["back", *turns] if _adds_little(attempt, before) else [*turns, "back"]


def _adds_little(attempt: _Attempt, before: Candidate) -> bool:
    found, already = attempt.report.measured.sqnr_db, before.measured.sqnr_db
    return found is not None and already is not None and already - found < _LITTLE_DB


def _is_users(error: Exception, context: StepContext, judge: Judge) -> bool:
    """Whether what a step raised speaks of what the user gave: decisions, machine or data."""
    if isinstance(error, BudgetError | RuntimeUnavailable):
        return True
    if isinstance(error, KilnxError) and context.decisions != Decisions():
        return True  # those of another model do not fit this one
    if isinstance(error, KilnxError) and context.training is not None and context.training.asked:
        return True  # what was asked for cannot be trained
    return refused_by_machine_or_data(error, (context.calibration, judge.evaluation))


def _failed(name: str, before: Candidate, defect: Defect) -> _Attempt:
    """A step that failed: what it may have left half done is read again from the file."""
    report = StepReport(name, False, str(defect), before.measured, False, defect=defect)
    return _Attempt(replace(before, model=load_model(before.path)), report, False)


def _noted(attempt: _Attempt, defect: Defect) -> _Attempt:
    """``attempt`` as it stands, with the defect that another way of doing it met."""
    reason = f"{attempt.report.reason}; {defect}"
    return replace(attempt, report=replace(attempt.report, reason=reason, defect=defect))


def _run(  # noqa: PLR0917
    name: str,
    step: Step,
    before: Candidate,
    context: StepContext,
    judge: Judge,
    replay: Mapping[str, bool] | None,
) -> _Attempt:
    return _attempt(name, step(before.model, context), before, judge, replay)


def _less_aggressive(name: str, refused: _Attempt, before: Candidate, judge: Judge) -> _Attempt:
    """Try what a step offers in place of what was refused, ever less aggressively.

    Once something holds, what lies between it and the last that did not. Only what comes out of
    that races.
    """
    way = refused.less_aggressive
    inside = refused.inside
    kept: _Attempt | None = None
    while way is not None and (outcome := way()) is not None:
        tried = _attempt(name, outcome, before, judge, None, suffix=".less_aggressive", timed=False)
        if tried.report.kept:
            kept, way = tried, tried.between
        else:
            way = tried.less_aggressive if tried.outside else None
            inside = inside or tried.inside
    kept = kept and _raced(kept, before, judge)
    if kept is None:
        return replace(refused, inside=inside)
    reason = f"{kept.report.reason}; more was {refused.report.reason}"
    return replace(kept, report=replace(kept.report, reason=reason))


def _raced(attempt: _Attempt, before: Candidate, judge: Judge) -> _Attempt | None:
    """What is to be kept, with what a race found; None where it was lost."""
    best = attempt.best
    assert best.parity is not None
    measured = judge.measure(best.path, best.parity, before.measured)
    if _lost(measured, before, judge):
        return None
    best, report = replace(best, measured=measured), replace(attempt.report, measured=measured)
    return replace(attempt, best=best, report=report)


def _go_back(  # noqa: PLR0917
    name: str,
    step: Step,
    reports: list[StepReport],
    retreat: _Retreat,
    context: StepContext,
    judge: Judge,
    best: Candidate,
) -> tuple[_Attempt, _Attempt] | None:
    """An earlier step done less aggressively, so that this one has some of the budget left.

    None where what comes of it is not better than ``best``.
    """
    earlier = reports[retreat.place].name
    context.run.tell(f"{earlier} again, less aggressively, so that something is left")
    outcome = retreat.less_aggressive()
    if outcome is None:
        return None
    pruned = _attempt(earlier, outcome, retreat.before, judge, None, suffix=".less_aggressive")
    again = _attempt(
        name, step(pruned.best.model, context), pruned.best, judge, None, suffix=".less_aggressive"
    )
    if not again.report.kept or not judge.gain(again.best.path, best.path).pays:
        return None
    reason = f"{pruned.report.reason}; more would have left too little of the budget for {name}"
    return replace(pruned, report=replace(pruned.report, reason=reason)), again


def _attempt(
    name: str,
    outcome: Outcome,
    best: Candidate,
    judge: Judge,
    replay: Mapping[str, bool] | None,
    *,
    suffix: str = "",
    timed: bool = True,
) -> _Attempt:
    """Measure what a step made of ``best`` and decide between the two.

    Without being ``timed`` it is kept by what the cost table says.
    """
    if outcome.model is None:
        report = StepReport(name, False, outcome.reason, best.measured, False, outcome.details)
        return _Attempt(best, report, False, outcome.less_aggressive)
    path = _free_path(best.path.parent, f"{name}{suffix}")
    write_model(outcome.model, path)
    parity = _judged(path, judge)
    if isinstance(parity, str):
        path.unlink()
        report = StepReport(name, False, parity, best.measured, False, outcome.details)
        return _Attempt(best, report, False, outcome.less_aggressive)
    decided = None if replay is None else replay.get(name)
    if decided and not parity.passed:
        raise BudgetError(
            f"the decisions keep the step {name!r}, but here it is outside the budget: "
            f"{parity.reason}"
        )
    little = decided is None and parity.passed and _leaves_little(outcome, parity, judge)
    if little:
        measured, kept = judge.predict(path, parity, best.measured), False
        reason = "inside the budget, but would leave next to nothing of it for what comes next"
    else:
        measured, kept, reason = _decide(parity, path, best, judge, decided, timed=timed)
    pruned = path if name == "prune" else best.pruned
    challenger = Candidate(outcome.model, path, measured, pruned, parity)
    if outcome.reason and decided is None and not little:
        reason = f"{reason} ({outcome.reason})"
    report = StepReport(name, kept, reason, measured, True, outcome.details, stress=parity.stress)
    if not kept:
        path.unlink()
        outside, inside = little or not parity.passed, outcome if little else None
        return _Attempt(best, report, outside, outcome.less_aggressive, inside=inside)
    return _Attempt(challenger, report, False, outcome.less_aggressive, outcome.between)


def _leaves_little(outcome: Outcome, parity: ParityReport, judge: Judge) -> bool:
    return outcome.share < 1.0 and judge.spent(parity) > outcome.share


def _judged(path: Path, judge: Judge) -> ParityReport | str:
    """What the judge finds, or why an engine of the target does not run the candidate at all."""
    try:
        return judge.parity(path)
    except ModelError as error:
        if judge.judged_in == ("cpu",):
            raise
        return f"it does not run on the target: {error}"


def _free_path(folder: Path, stem: str) -> Path:
    """A file that is not there yet: no attempt overwrites what another one is compared with."""
    names = (f"{stem}{f'.{number}' if number else ''}.onnx.tmp" for number in count())
    return next(path for name in names if not (path := folder / name).exists())


def _decide(
    parity: ParityReport,
    path: Path,
    best: Candidate,
    judge: Judge,
    decided: bool | None,
    *,
    timed: bool,
) -> tuple[Measured, bool, str]:
    """The rule: inside the budget, then faster, or smaller and no slower beyond doubt.

    What the cost table finds worth it, races against fp32, which can only refuse. Nothing else
    does: a race takes longer than a judgement. ``decided``: what a report that is replayed says.
    """
    if decided is not None:
        measured = judge.measure(path, parity, best.measured)
        return measured, decided, "as decided in the report that is replayed"
    if not parity.passed:
        predicted = judge.predict(path, parity, best.measured)
        return predicted, False, f"outside the budget: {parity.reason}"
    gain = judge.gain(path, best.path)
    if not gain.pays:
        return judge.predict(path, parity, best.measured), False, gain.verdict
    reason = f"{gain}; {parity.reason}"
    if not timed:
        return judge.predict(path, parity, best.measured), True, reason
    found = judge.measure(path, parity, best.measured)
    lost = _lost(found, best, judge)
    return (found, False, lost) if lost else (found, True, reason)


def _lost(found: Measured, best: Candidate, judge: Judge) -> str | None:
    """Why a race speaks against what it ``found``."""
    lost = lost_race(found.speedup, found.speedup_low, found.speedup_high, judge.prefer)
    return lost or lost_to_another(found.speedup_high, best.measured.speedup_low, judge.prefer)
