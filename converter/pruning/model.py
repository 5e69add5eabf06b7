"""Pruning of a graph: the exact part, then a budget to spend; the caller judges at last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import onnx_ir as ir

from converter.pruning.groups.selection import Selection
from converter.pruning.prepare import Nothing, Prepared, PruneOptions, prepare
from converter.pruning.repair.sums import Problem
from converter.pruning.report import PruningReport, TriedReport
from converter.pruning.search.attempts import Tried
from converter.pruning.search.plan import Plan, cut_and_repair, leaves_something, select
from converter.pruning.search.search import Found, search
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.parity.budget import Budget
from runtimes.progress import Progress, silent


@dataclass(frozen=True)
class Pruned:
    """``model`` without channels that mattered, ``exact`` without those that did not.

    ``less_aggressive``: makes one that spends less of the budget; its report is not ``kept`` where
    there is none. ``between``: where this one held, and one that spends more did not, what lies
    between both.
    """

    model: ir.Model
    exact: ir.Model
    report: PruningReport
    less_aggressive: Callable[[], Pruned] | None = None
    between: Callable[[], Pruned | None] | None = None


def prune_model(
    model: ir.Model,
    data: Dataset | None,
    budget: Budget,
    *,
    options: PruneOptions | None = None,
    progress: Progress = silent,
) -> Pruned:
    """Remove channels of ``model`` as far as ``budget`` allows, and repair what is left.

    ``model`` (optimized, float) stays as it is. ``data``, bound to its inputs, fits and judges:
    what is fitted never judges itself. Without data only the exact part is done. Whether the
    result is worth it on data of its own, the caller judges. Raises ``DataError`` for a plan of
    another model.
    """
    options = options or PruneOptions()
    prepared = prepare(model, data, options, progress)
    return prune_prepared(prepared, budget, options=options, progress=progress)


def prune_prepared(
    prepared: Prepared | Nothing,
    budget: Budget,
    *,
    options: PruneOptions,
    progress: Progress = silent,
) -> Pruned:
    """As ``prune_model``, from where ``prepare`` left off."""
    if isinstance(prepared, Nothing):
        return nothing_pruned(prepared)
    problem = prepared.problem
    if options.plan is None:
        progress("measuring the influence of channels")
        found = search(
            prepared.cuts, budget, options.target, limits=options.limits, progress=progress
        )
    else:
        found = Found(known_plan(options.plan, problem), (), True)

    def carry_out(found: Found) -> Pruned:
        """Cut and repair by the plan that was found, with all data."""
        progress("repairing with all data")
        kept = selected(prepared, found.plan)
        pruned = cut_and_repair(problem, kept) if found.plan else prepared.exact
        if found.less_aggressive is None and found.between is None:
            problem.reference_rows.clear()  # no plan after this one looks at them
        report = prepared.report(
            found.plan,
            kept,
            (prepared.saved(kept) if found.plan else _why_nothing(found)) + _stopped(found),
            tuple(map(_report_tried, found.tried)),
            found.reached,
            found.stopped,
        )
        nothing = Found({}, found.tried, False, found.stopped)
        again, between = found.less_aggressive, found.between
        return Pruned(
            pruned,
            prepared.exact,
            report,
            None if again is None else lambda: carry_out(again() or nothing),
            None if between is None else partial(_carried_out, carry_out, between),
        )

    return carry_out(found)


def _carried_out(
    carry_out: Callable[[Found], Pruned], find: Callable[[], Found | None]
) -> Pruned | None:
    found = find()
    return None if found is None else carry_out(found)


def _stopped(found: Found) -> str:
    plans = f"{len(found.tried)} plan{'' if len(found.tried) == 1 else 's'}"
    if found.stopped == "clock":
        return f"; the clock stopped the search after {plans}"
    return (
        f"; the search stopped after {plans}, as many as effort and time budget allow"
        if found.stopped
        else ""
    )


def nothing_pruned(nothing: Nothing) -> Pruned:
    """What there is where only the exact part could be done."""
    return Pruned(nothing.exact, nothing.exact, nothing.report)


def selected(prepared: Prepared, plan: Plan) -> Selection:
    """What the plan leaves; raises ``DataError`` where that is nothing of some axis."""
    kept = select(prepared.problem, prepared.rankings, plan)
    if not leaves_something(prepared.problem, kept):
        raise DataError(
            "the decisions leave some axis of this model without any channel: they are of "
            "another model, or damaged"
        )
    return kept


def _report_tried(one: Tried) -> TriedReport:
    return TriedReport(
        macs=one.cost.macs,
        parameters=one.cost.parameters,
        share=one.share,
        drop=one.judgement.drop,
        agreement=one.judgement.agreement,
        passed=one.verdict.passed,
        reason=one.verdict.reason,
    )


def _why_nothing(found: Found) -> str:
    if found.tried:
        return f"the budget allows no cut: {found.tried[-1].verdict.reason}"
    return "no cut saves anything here"


def known_plan(plan: Plan, problem: Problem) -> Plan:
    """The plan, if it is one for this model."""
    units = {group.makers[0]: len(group.units) for group in problem.dependencies.groups}
    branches = {branch.name for branch in problem.branches}
    for name, stays in plan.items():
        if not (0 if name in branches else 1) <= stays <= units.get(name, 0):
            raise DataError(
                f"the decisions are of another model: of {name!r} {stays} channels should stay, "
                f"and this model has {units.get(name, 'no such layer')}"
            )
    return plan
