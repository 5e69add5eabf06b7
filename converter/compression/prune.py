"""``prune``: an ONNX file in, a smaller one out, if that pays inside the budget."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from converter.passes import optimize
from converter.pruning.exact.dead_channels import keep_outputs
from converter.pruning.model import Pruned, PruneOptions, prune_model
from converter.pruning.report import PruningReport
from converter.pruning.search.plan import Plan
from converter.pruning.search.search import Target
from quantizers.rewrites.prepare import refuse_quantized
from runtimes.atomic_files import refuse_existing
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import made_up_inputs
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_inputs,
    model_outputs,
    refuse_nan_weights,
    save_model,
)
from runtimes.parity.budget import Budget, default_metric
from runtimes.parity.check import ParityReport, check
from runtimes.profiling.profile import ProfileReport, profile
from runtimes.profiling.report import NOISE_MARGIN

# Half of the data prunes, so that the other half judges as well as it can.
_CALIBRATION_SHARE = 0.5
_MADE_UP_SAMPLES = 4


def prune(
    model: ModelSource,
    output: str | os.PathLike[str] | None,
    data: Any = None,
    *,
    evaluate_on: Any = None,
    metric: str | None = None,
    max_drop: float = 0.01,
    min_agreement: float = 0.99,
    min_sqnr: float = 20.0,
    flops: float | None = None,
    params: float | None = None,
    latency: float | None = None,
    outputs: Sequence[str] | None = None,
    decisions: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    threads: int = 1,
    force: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> PruningReport:
    """Remove channels from an ONNX model without training, and write what is left to ``output``.

    First goes what changes nothing: outputs other than ``outputs`` and what only they need,
    dead and duplicate channels. Then, with ``data`` (what ``Dataset.open`` takes), whole channels
    go and what is left is repaired, until the budget is spent: ``max_drop`` of the
    labelled ``metric`` (chosen by the labels where it is ``None``), without labels a floor of
    top-1 agreement (0 … 1) and of SQNR in dB; or until one of ``flops``, ``params`` and
    ``latency`` is met, each a share of what the model has, 0 … 1. ``evaluate_on`` judges at last;
    without it, ``data`` is split so that no sample does both. ``decisions`` (a report or its path)
    repeats what an earlier run decided. ``output`` None writes nothing.

    Where the budget allows nothing, the model is written with the exact part done (``kept`` is
    false). Raises ``ModelError`` for a file that is not a float ONNX model, lacks an output or
    holds NaN, ``DataError`` for data that do not fit and for an ``output`` that exists, unless
    ``force``.
    """
    target = _target(flops=flops, params=params, latency=latency)
    plan = _plan(decisions)
    if output is not None:
        refuse_existing(output, force=force)
    source = load_model(model)
    refuse_quantized(source)
    refuse_nan_weights(source, "the model" if isinstance(model, ir.Model) else str(model))
    reference = optimize(source.clone())
    removed = keep_outputs(reference, outputs) if outputs is not None else ()
    calibration, evaluation, notes = _split(reference, data, evaluate_on, seed)
    chosen = metric
    if metric is None and evaluation is not None:
        chosen = default_metric(model_outputs(reference), evaluation)
    budget = Budget(chosen, max_drop, min_agreement, min_sqnr)
    options = PruneOptions(target, plan, threads, seed)
    pruned = prune_model(reference, calibration, budget, options=options, progress=progress)
    progress("judging the pruned model")
    if pruned.report.kept and evaluation is not None:
        pruned = _judge_all(reference, pruned, evaluation, budget, options)
    result, report = pruned.model, pruned.report
    if not report.kept:
        result, report = _judge_exact(reference, pruned, evaluation, options)
    report = replace(report, exact=(*removed, *report.exact), notes=(*notes, *report.notes))
    if output is not None:
        save_model(result, output, force=force)
    return report


def _judge_all(
    reference: ir.Model,
    pruned: Pruned,
    evaluation: Dataset,
    budget: Budget,
    options: PruneOptions,
) -> Pruned:
    """Judge what was found, and where it is outside the budget, what spends less and less."""
    first = judged = _judge(reference, pruned, evaluation, budget, options)
    while not judged.report.kept:
        parity = judged.report.parity or {}
        if parity.get("passed") or pruned.less_aggressive is None:
            return first
        pruned = pruned.less_aggressive()
        judged = _judge(reference, pruned, evaluation, budget, options)
    if judged is first:
        return first
    note = f"a plan that leaves less was judged first: {first.report.reason}"
    return replace(judged, report=replace(judged.report, notes=(*judged.report.notes, note)))


def _judge(
    reference: ir.Model,
    pruned: Pruned,
    evaluation: Dataset,
    budget: Budget,
    options: PruneOptions,
) -> Pruned:
    """Whether the pruned model holds what it should, on data that it has not seen."""
    threads, seed = options.threads, options.seed
    parity = budget.check(reference, pruned.model, evaluation, threads=threads)
    speed = profile(pruned.model, against=reference, data=evaluation, threads=threads, seed=seed)
    kept, reason = _decide(parity, speed, pruned.report, options)
    report = replace(
        pruned.report,
        kept=kept,
        reason=reason,
        reached=pruned.report.reached and (kept or not options.target.share),
        parity=parity.to_dict(),
        latency=speed.to_dict(),
    )
    if not kept:
        groups = tuple(replace(group, after=group.before) for group in report.groups)
        report = replace(report, groups=groups, after=report.before)
    return replace(pruned, report=report)


def _decide(
    parity: ParityReport, speed: ProfileReport, report: PruningReport, options: PruneOptions
) -> tuple[bool, str]:
    found = f"{speed.batches[0].ratio:.2f}× as fast, {report.reason}; {parity.reason}"
    if not parity.passed:
        return False, f"outside the budget: {parity.reason}"
    if options.target.resource == "latency" and speed.slower(NOISE_MARGIN):
        return False, f"slower here: {found}"
    return True, found


def _judge_exact(
    reference: ir.Model, pruned: Pruned, evaluation: Dataset | None, options: PruneOptions
) -> tuple[ir.Model, PruningReport]:
    """The exact part, if it changes nothing on the data or else on random numbers."""
    data: Any = evaluation
    if data is None:
        data = made_up_inputs(model_inputs(reference), _MADE_UP_SAMPLES, options.seed).feed
    parity = check(reference, pruned.exact, data, threads=options.threads)
    if parity.passed:
        return pruned.exact, replace(pruned.report, parity=pruned.report.parity or parity.to_dict())
    reason = f"what should change nothing does, and is left out: {parity.reason}"
    return reference, replace(pruned.report, reason=reason, exact=(), parity=parity.to_dict())


def _split(
    model: ir.Model, data: Any, evaluate_on: Any, seed: int
) -> tuple[Dataset | None, Dataset | None, tuple[str, ...]]:
    specs = model_inputs(model)
    if data is None:
        if evaluate_on is None:
            return None, None, ("no data: only what changes no result can go",)
        evaluation = Dataset.open(evaluate_on, inputs=specs)
        return None, evaluation, evaluation.notes
    calibration = Dataset.open(data, inputs=specs)
    if evaluate_on is not None:
        evaluation = Dataset.open(evaluate_on, inputs=specs)
        note = f"pruned on {calibration.name}, judged on {evaluation.name}"
        return calibration, evaluation, (note, *calibration.notes, *evaluation.notes)
    first, second = calibration.split(_CALIBRATION_SHARE, seed)
    note = (
        f"{calibration.name} was split: {first.num_samples} samples prune and "
        f"{second.num_samples} others judge (seed {seed})"
    )
    return first, second, (note, *calibration.notes)


def _target(*, flops: float | None, params: float | None, latency: float | None) -> Target:
    given = {"macs": flops, "parameters": params, "latency": latency}
    asked = {name: share for name, share in given.items() if share is not None}
    if len(asked) > 1:
        raise DataError("give one target: --flops, --params or --latency")
    for name, share in asked.items():
        if not 0 < share < 1:
            raise DataError(f"a target is a share of what there is, between 0 and 1, not {share:g}")
        return Target(name, share)  # type: ignore[arg-type]
    return Target("latency")


def _plan(source: Any) -> Plan | None:
    """The decision out of a report of ``prune``."""
    if source is None:
        return None
    try:
        report = source
        if not isinstance(source, Mapping):
            report = json.loads(Path(source).read_text(encoding="utf-8"))
        return {str(name): int(stays) for name, stays in report["plan"].items()}
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError("the decisions are not a report that prune wrote (--json)") from error
