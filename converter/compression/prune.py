"""``prune``: an ONNX file in, a smaller one out, if that pays inside the budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import onnx_ir as ir

from converter.compression.decisions import Decisions, DecisionSource
from converter.compression.device import costs_of, require_device
from converter.compression.gain import Gain, lost_races
from converter.compression.samples import open_judged, resolve_budget
from converter.compression.simplify import simplified
from converter.compression.stressed_reference import stressed_reference
from converter.compression.targeted import fitted, open_target, refuse_wrong
from converter.compression.training_data import rungs_like
from converter.compression.users_errors import explained
from converter.compression.work_plan import Effort, TimeBudget, planned
from converter.pruning.exact.dead_channels import Removed, keep_outputs, remove_dead
from converter.pruning.model import Pruned, prune_model
from converter.pruning.prepare import PruneOptions
from converter.pruning.report import PruningReport, describe_exact
from converter.pruning.search.plan import Plan
from converter.pruning.search.savings import Target as Wanted
from quantizers.rewrites.prepare import refuse_quantized
from runtimes.atomic_files import refuse_existing
from runtimes.costs import CostsSource, open_costs
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import made_up_inputs
from runtimes.defects import Defect, callers_own, contain
from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.of_target import judging_providers
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.errors import DataError
from runtimes.machine_load import noted
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_bytes,
    model_inputs,
    model_outputs,
    refuse_nan_weights,
    save_model,
)
from runtimes.options import RunOptions, flat_options
from runtimes.parity.budget import Budget, without_labels
from runtimes.parity.check import check
from runtimes.parity.report import ParityReport
from runtimes.parity.stressed import Stressed
from runtimes.profiling.profile import ProfileReport, profile
from runtimes.targets import Target

# Random samples that the exact part is checked on where there are no data.
_MADE_UP_SAMPLES = 4


@dataclass(frozen=True)
class PruneFileOptions:
    """How much ``prune`` removes, beside what loss is acceptable.

    Attributes:
        flops: Enough: this share of the multiply-adds, 0 to 1.
        params: Enough: this share of the parameters.
        latency: Enough: this share of the latency here.
        outputs: Outputs to keep; None keeps all.
        decisions: An earlier report, whose decision is repeated.
        force: Whether an existing output is replaced.
        costs: What kernels cost: a cost table or its file; ``none`` measures anew and keeps
            nothing; None takes and fills the table of this machine in the user's cache.
        trust_costs: Whether a table of another machine decides, so that it decides for that one.
        time_budget: How long it may take: seconds, or text such as ``"5m"``. Work is planned by
            predicted cost, so that no clock decides; None plans for 3 minutes.
        effort: ``low`` tries few cuts, ``high`` more than by default.
        target: The runtime that the model ships on, by name; None: ONNX Runtime, or that of the
            decisions.
        device: Where to measure and judge in place of this machine: a ``runtimes.Device``.
    """

    flops: float | None = None
    params: float | None = None
    latency: float | None = None
    outputs: Sequence[str] | None = None
    decisions: DecisionSource | None = None
    force: bool = False
    costs: CostsSource = None
    trust_costs: bool = False
    time_budget: str | float | None = None
    effort: Effort = "default"
    target: Target | str | None = None
    device: Elsewhere | None = None


_DEFAULT_SECONDS = 180.0


@flat_options(budget=Budget, options=PruneFileOptions, run=RunOptions)
def prune(
    model: ModelSource,
    output: str | os.PathLike[str] | None,
    data: Any = None,
    *,
    evaluate_on: Any = None,
    budget: Budget = Budget(),
    options: PruneFileOptions = PruneFileOptions(),
    run: RunOptions = RunOptions(),
) -> PruningReport:
    """Remove channels from an ONNX model without training, and write what is left to ``output``.

    First goes what changes nothing: outputs that are not kept and what only they need, dead and
    duplicate channels. Then, with ``data``, whole channels go and what is left is repaired, until
    the budget is spent or the target is met. Where the budget allows nothing, the model is written
    with the exact part done (``kept`` is false); so it is where more fails by kilnx' own fault
    (``defects``). The fields of all three dataclasses are taken as keywords, too.

    Args:
        model: An ONNX file or an ``onnx_ir.Model``, in float.
        output: The file to write; None writes nothing.
        data: What ``Dataset.open`` takes; without any, only lossless pruning is done.
        evaluate_on: The same; judges. Without it, ``data`` is split.
        budget: What loss is acceptable. Without a ``metric``, the labels choose one.
        options: The target (one of ``flops``, ``params`` and ``latency``), outputs, decisions.
        run: Threads, seed and progress.

    Returns:
        What was removed, the parity and the latency.

    Raises:
        ModelError: The file is not a float ONNX model, lacks an output or holds NaN.
        DataError: The data do not fit, ``output`` exists, there is more than one target, or the
            time budget is too small.

    Example:
        >>> prune("model.onnx", "pruned.onnx").notes
        ('no data: only lossless pruning is done',)
    """
    time_budget = TimeBudget.of(options.time_budget, _DEFAULT_SECONDS, options.effort)
    target = _target(flops=options.flops, params=options.params, latency=options.latency)
    decisions = None if options.decisions is None else Decisions.open(options.decisions)
    plan = _plan(decisions)
    ships_on = open_target(options.target, decisions)
    inputs = (model, data, evaluate_on, options.decisions)
    if output is not None:
        refuse_existing(output, force=options.force, inputs=inputs)
    require_device(options)
    run = replace(run, progress=callers_own(run.progress))
    source = load_model(model)
    refuse_quantized(source)
    refuse_nan_weights(source, "the model" if isinstance(model, ir.Model) else str(model))
    reference, defects = simplified(source)
    reference = fitted(reference, ships_on, int8=False)
    outputs = options.outputs
    removed = keep_outputs(reference, outputs) if outputs is not None else ()
    calibration, evaluation, notes, budget = _samples(
        reference, data, evaluate_on, budget, run.seed
    )
    told = () if evaluation is None else refuse_wrong(reference, evaluation, ships_on, run.threads)
    search = budget
    if calibration is not None and evaluation is not None:
        search = without_labels(budget, model_outputs(reference), evaluation, calibration)
    costs = costs_of(options, run)
    how = PruneOptions(target, plan, run.threads, run.seed, costs)
    work, stressed = None, None
    if calibration is not None and evaluation is not None:
        stressed = stressed_reference(reference, evaluation, budget, run)
        pair = calibration, evaluation
        work, unplanned = planned(time_budget, reference, pair, costs, ("prune",))
        defects = (*defects, *unplanned)
        how = replace(how, limits=work.limits)

    def attempt() -> Pruned:
        under = _under(stressed, reference, calibration, how)
        pruned = prune_model(reference, calibration, search, options=under, progress=run.tell)
        run.tell("judging the pruned model")
        if not pruned.report.kept or stressed is None:
            return pruned
        return _judge_all(reference, pruned, stressed, how, ships_on, options.device)

    is_users = partial(explained, data=(calibration, evaluation))
    pruned = contain("pruning", attempt, is_users)
    if isinstance(pruned, Defect):
        pruned = _exact_only(reference, pruned, target, is_users)
    result, report = pruned.model, pruned.report
    if not report.kept:
        result, report = _sound_exact(reference, pruned, evaluation, how, is_users)
    of_time = () if work is None else work.afterwards(report.stopped)
    report = replace(
        report,
        exact=(*removed, *report.exact),
        notes=(*map(str, defects), *told, *notes, *costs.notes, *of_time, *report.notes),
        defects=(*defects, *report.defects),
        ships_on=ships_on.name,
    )
    if output is not None:
        save_model(result, output, force=options.force, inputs=inputs)
    return report


def _under(
    stressed: Stressed | None, reference: ir.Model, data: Dataset | None, options: PruneOptions
) -> PruneOptions:
    """``options`` with the perturbations that judge, drawn from the ``data`` that fit."""
    if stressed is None or data is None:
        return options
    return replace(options, rungs=rungs_like(stressed.rungs, reference, data, options.seed))


_IsUsers = Callable[[Exception], bool]


def _exact_only(reference: ir.Model, defect: Defect, target: Wanted, is_users: _IsUsers) -> Pruned:
    """What goes without changing anything, or nothing, where more failed."""
    exact = reference.clone()
    removed: tuple[Removed, ...] = ()
    defects: tuple[Defect, ...] = (defect,)
    found = contain("lossless pruning", partial(remove_dead, exact), is_users)
    if isinstance(found, Defect):
        exact, defects = reference, (defect, found)
    else:
        removed = found
    done = describe_exact(removed)
    why = str(defect) + (f"; without any change: {done}" if done else "")
    reached = not target.share
    report = PruningReport(False, reached, why, removed, (), {}, (), None, None, defects=defects)
    return Pruned(exact, exact, report)


def _sound_exact(
    reference: ir.Model,
    pruned: Pruned,
    evaluation: Dataset | None,
    options: PruneOptions,
    is_users: _IsUsers,
) -> tuple[ir.Model, PruningReport]:
    """The exact part if it can be judged and changes nothing, else the model as it was."""
    judge = partial(_judge_exact, reference, pruned, evaluation, options)
    found = contain("judging lossless pruning", judge, is_users)
    if not isinstance(found, Defect):
        return found
    report = pruned.report
    reason = f"{report.reason}; {found}" if report.defects else str(found)
    return reference, replace(report, reason=reason, exact=(), defects=(*report.defects, found))


def _judge_all(  # noqa: PLR0917
    reference: ir.Model,
    pruned: Pruned,
    stressed: Stressed,
    options: PruneOptions,
    ships_on: Target,
    device: Elsewhere | None,
) -> Pruned:
    """Judge what was found, and where it is outside the budget, what spends less and less."""
    first = _judge(reference, pruned, stressed, options, ships_on, device=device)
    if first.report.kept:
        return first
    best: Pruned | None = None
    judged = first
    while (found := _next(judged)) is not None and found.report.kept:
        judged = _judge(reference, found, stressed, options, ships_on, device=device)
        best = judged if judged.report.kept else best
    if best is None:
        return first
    note = f"a plan that leaves less was judged first: {first.report.reason}"
    return replace(best, report=replace(best.report, notes=(*best.report.notes, note)))


def _next(judged: Pruned) -> Pruned | None:
    """What is to be judged after ``judged``: less than what was refused, more than what held."""
    if judged.report.kept:
        return None if judged.between is None else judged.between()
    parity = judged.report.parity or {}
    if parity.get("passed") or judged.less_aggressive is None:
        return None
    return judged.less_aggressive()


def _judge(
    reference: ir.Model,
    pruned: Pruned,
    stressed: Stressed,
    options: PruneOptions,
    ships_on: Target,
    *,
    device: Elsewhere | None,
) -> Pruned:
    """Whether the pruned model holds what it should, on data that it has not seen."""
    threads, seed, evaluation = options.threads, options.seed, stressed.data
    parity = check(
        stressed.reference,
        pruned.model,
        evaluation,
        budget=stressed.budget,
        stressed=stressed,
        providers=judging_providers(ships_on),
        threads=threads,
        device=device,
    )
    speed = profile(
        pruned.model,
        against=reference,
        provider=ships_on.clock,
        data=evaluation,
        threads=threads,
        seed=seed,
        device=device,
    )
    gain = _gain(reference, pruned.model, evaluation, options, speed)
    kept, reason = _decide(parity, gain, speed, pruned.report, options)
    report = replace(
        pruned.report,
        kept=kept,
        reason=reason,
        reached=pruned.report.reached and (kept or not options.target.share),
        parity=parity.to_dict(),
        latency=speed.to_dict(),
        notes=(*pruned.report.notes, *noted([speed.load])),
    )
    if not kept:
        groups = tuple(replace(group, after=group.before) for group in report.groups)
        report = replace(report, groups=groups, after=report.before)
    return replace(pruned, report=report)


def _gain(
    reference: ir.Model,
    pruned: ir.Model,
    evaluation: Dataset,
    options: PruneOptions,
    race: ProfileReport,
) -> Gain:
    """What the pruned model is worth by the cost table, or by the race in another engine."""
    if race.provider != "cpu":
        return Gain.of(race)
    feeds = timed_feeds(evaluation, model_inputs(reference))
    share = model_bytes(pruned) / model_bytes(reference)
    costs = options.costs or open_costs(threads=options.threads)
    return Gain.predicted(pruned, reference, feeds, costs, share)


def _decide(
    parity: ParityReport,
    gain: Gain,
    race: ProfileReport,
    report: PruningReport,
    options: PruneOptions,
) -> tuple[bool, str]:
    if not parity.passed:
        return False, f"outside the budget: {parity.reason}"
    if options.plan is not None:  # what was decided stands, however fast it is here
        return True, f"{gain}, {report.reason}; {parity.reason}"
    if options.target.resource == "latency" and gain.slower:
        return False, f"{gain.verdict}; {report.reason}"
    lost = lost_races(race) if options.target.resource == "latency" else None
    if lost is not None:
        return False, f"{lost}; {report.reason}"
    return True, f"{gain}, {report.reason}; {parity.reason}"


def _judge_exact(
    reference: ir.Model, pruned: Pruned, evaluation: Dataset | None, options: PruneOptions
) -> tuple[ir.Model, PruningReport]:
    """The exact part, if it changes nothing on the data or else on random numbers."""
    data: Any = None if evaluation is None else evaluation.without_labels()
    if data is None:
        data = made_up_inputs(model_inputs(reference), _MADE_UP_SAMPLES, options.seed).feed
    parity = check(reference, pruned.exact, data, threads=options.threads)
    if parity.passed:
        return pruned.exact, replace(pruned.report, parity=pruned.report.parity or parity.to_dict())
    reason = f"the lossless step changed the outputs and was reverted: {parity.reason}"
    return reference, replace(pruned.report, reason=reason, exact=(), parity=parity.to_dict())


def _samples(
    model: ir.Model, data: Any, evaluate_on: Any, budget: Budget, seed: int
) -> tuple[Dataset | None, Dataset | None, tuple[str, ...], Budget]:
    """What calibrates and what judges, either of which may be missing here, notes and budget."""
    if data is not None:
        samples, budget, _ = open_judged(model, data, evaluate_on, budget, seed)
        return samples.calibration, samples.evaluation, samples.notes, budget
    evaluation: Dataset | None = None
    notes: tuple[str, ...] = ("no data: only lossless pruning is done",)
    if evaluate_on is not None:
        evaluation = Dataset.open(evaluate_on, inputs=model_inputs(model))
        notes = evaluation.notes
    budget, _ = resolve_budget(model, evaluation, budget)
    return None, evaluation, notes, budget


def _target(*, flops: float | None, params: float | None, latency: float | None) -> Wanted:
    given = {"macs": flops, "parameters": params, "latency": latency}
    asked = {name: share for name, share in given.items() if share is not None}
    if len(asked) > 1:
        raise DataError("give one target: --flops, --params or --latency")
    for name, share in asked.items():
        if not 0 < share < 1:
            raise DataError(f"a target is a share of what there is, between 0 and 1, not {share:g}")
        return Wanted(name, share)  # type: ignore[arg-type]
    return Wanted("latency")


def _plan(decisions: Decisions | None) -> Plan | None:
    """How many channels of each group stay, out of an earlier report."""
    if decisions is None:
        return None
    if decisions.plan is None:
        raise DataError("the decisions hold no plan: give what prune printed with --json")
    return dict(decisions.plan)
