"""Pruning of a graph: the exact part, then a budget to spend; the caller judges at last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx_ir as ir

from converter.pruning.exact.dead_channels import remove_dead
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.selection import Dependencies
from converter.pruning.ranking.ranking import rank_groups
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.tolerance import bears
from converter.pruning.repair.walk import WalkOptions
from converter.pruning.report import PruningReport, TriedReport, describe_exact, report_groups
from converter.pruning.search.attempts import Tried
from converter.pruning.search.cost import Cost, CostModel
from converter.pruning.search.limits import NO_LIMITS, SearchLimits
from converter.pruning.search.plan import Plan, cut_and_repair, leaves_something, select
from converter.pruning.search.savings import Target
from converter.pruning.search.search import Found, search
from converter.pruning.search.sensitivity import some
from runtimes.costs import Costs, open_costs
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import model_inputs
from runtimes.parity.budget import Budget
from runtimes.progress import Progress, silent
from runtimes.readable import times
from runtimes.stress.noise import measure_noise

# Work grows with samples times multiply-adds; beyond this, more samples teach little.
_MOST_SAMPLES = 1024
_LEAST_SAMPLES = 64
_MOST_WORK = 5e11
# Each of four models is fitted on three quarters of the samples and judged on the rest.
_FEWEST = 8


_AS_FAST_AS_CAN_BE = Target("latency")


@dataclass(frozen=True)
class Pruned:
    """``model`` without channels that mattered, ``exact`` without those that did not.

    ``less_aggressive``: makes one that spends less of the budget; its report is not ``kept`` where
    there is none.
    """

    model: ir.Model
    exact: ir.Model
    report: PruningReport
    less_aggressive: Callable[[], Pruned] | None = None


@dataclass(frozen=True)
class PruneOptions:
    """What ``prune_model`` obeys.

    ``target``: what to save on and how much is enough. ``plan``: the decision of an earlier run,
    which is carried out again instead of searching. ``threads`` of a run; ``seed`` of all draws.
    ``costs``: what latency is taken from (None: those of this machine). ``limits`` of the search.
    """

    target: Target = _AS_FAST_AS_CAN_BE
    plan: Plan | None = None
    threads: int = 1
    seed: int = 0
    costs: Costs | None = field(default=None, compare=False)
    limits: SearchLimits = field(default=NO_LIMITS, compare=False)


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
    exact = model.clone()
    removed = remove_dead(exact)
    dependencies = find_dependencies(exact)
    found_exactly = describe_exact(removed)
    missing = _missing(data, dependencies)
    if missing or data is None:
        why = f"{missing}, so only what changes no result could go: "
        why += found_exactly or "there is nothing of the kind"
        groups = report_groups(dependencies, dependencies.everything())
        reached = not options.target.share
        report = PruningReport(False, reached, why, removed, groups, {}, (), None, None)
        return Pruned(exact, exact, report)
    data = _enough(exact, dependencies, data, options.seed)
    walk = WalkOptions(batch_size=_batch_size(data), threads=options.threads)
    noise = measure_noise(data, options.seed)
    borne = noise if noise.spreads and bears(exact, data, noise, options.threads) else None
    problem = Problem(exact, dependencies, data, walk, options.seed, borne)
    costs = CostModel(exact, dependencies, data)
    progress("ranking channels")
    rankings = rank_groups(problem)
    if options.plan is None:
        table = options.costs or open_costs(threads=options.threads)
        found = search(
            problem,
            rankings,
            costs,
            budget,
            options.target,
            table=table,
            limits=options.limits,
            progress=progress,
        )
    else:
        found = Found(_known(options.plan, problem), (), True)

    def carry_out(found: Found) -> Pruned:
        """Cut and repair by the plan that was found, with all data."""
        progress("repairing with all data")
        kept = select(problem, rankings, found.plan)
        if not leaves_something(problem, kept):
            raise DataError(
                "the decisions leave some axis of this model without any channel: they are of "
                "another model, or damaged"
            )
        pruned = cut_and_repair(problem, kept) if found.plan else exact
        problem.reference_rows.clear()
        before, after = costs.count(dependencies.everything()), costs.count(kept)
        gone = sum(branch.is_gone(kept) for branch in problem.branches)
        report = PruningReport(
            kept=bool(found.plan),
            reached=found.reached,
            reason=_reason(found, before, after, gone) + _beside(found_exactly) + _stopped(found),
            exact=removed,
            groups=report_groups(dependencies, kept),
            plan=found.plan,
            tried=tuple(map(_report_tried, found.tried)),
            before=before,
            after=after,
            notes=(f"pruned with {data.num_samples} samples of {data.name}",),
            stopped=found.stopped,
        )
        again = found.less_aggressive
        return Pruned(
            pruned,
            exact,
            report,
            None
            if again is None
            else lambda: carry_out(again() or Found({}, found.tried, False, found.stopped)),
        )

    return carry_out(found)


@dataclass(frozen=True)
class Extent:
    """How much work pruning a model is: the samples that are used, and the groups of channels."""

    samples: int
    groups: int


def extent_of(model: ir.Model, data: Dataset) -> Extent:
    """The extent for ``data``; nothing of it is pruned, and ``model`` stays as it is."""
    dependencies = find_dependencies(model)
    used = _enough(model, dependencies, data.bind(model_inputs(model)), 0)
    return Extent(used.num_samples or _MOST_SAMPLES, len(dependencies.groups))


def _stopped(found: Found) -> str:
    plans = f"{len(found.tried)} plan{'' if len(found.tried) == 1 else 's'}"
    if found.stopped == "clock":
        return f"; the clock stopped the search after {plans}"
    return (
        f"; the search stopped after {plans}, as many as effort and time budget allow"
        if found.stopped
        else ""
    )


def _reason(found: Found, before: Cost, after: Cost, gone: int) -> str:
    if not found.plan:
        return _why_nothing(found)
    branches = f"{gone} residual branch{'es' if gone > 1 else ''} gone, " if gone else ""
    return branches + (
        f"{times(max(1, before.macs) / max(1, after.macs))} fewer multiply-adds, "
        f"{times(max(1, before.parameters) / max(1, after.parameters))} fewer parameters"
    )


def _beside(found_exactly: str) -> str:
    return f"; without any change: {found_exactly}" if found_exactly else ""


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


def _known(plan: Plan, problem: Problem) -> Plan:
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


def _missing(data: Dataset | None, dependencies: Dependencies) -> str:
    """What stands against pruning at all; empty if nothing does."""
    if not any(group.is_open for group in dependencies.groups):
        return "no channel of this model can go"
    if data is None:
        return "no data were given"
    samples = data.num_samples or 0
    if samples < _FEWEST:
        return f"{data.name} holds {samples} samples for pruning, and it takes {_FEWEST} at least"
    return ""


def _enough(model: ir.Model, dependencies: Dependencies, data: Dataset, seed: int) -> Dataset:
    """As many samples as are worth their time, from all over the data."""
    macs = CostModel(model, dependencies, data).count(dependencies.everything()).macs
    most = min(_MOST_SAMPLES, max(_LEAST_SAMPLES, int(_MOST_WORK / max(1, macs))))
    return some(data, most, seed)


def _batch_size(data: Dataset) -> int:
    """Several batches, so that every draw of rows comes from all over the data."""
    return max(1, min(32, (data.num_samples or 1) // 4))
