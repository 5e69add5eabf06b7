"""``quantize``: an ONNX file in, the better of its INT8 and its float form out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import onnx_ir as ir

from converter.compression.decisions import Decisions, DecisionSource
from converter.compression.device import costs_of, require_device
from converter.compression.gain import Gain, check_preference, lost_races
from converter.compression.samples import Samples, open_judged
from converter.compression.simplify import simplified
from converter.compression.statistics import known_beforehand
from converter.compression.targeted import fitted, open_target, preferred, refuse_wrong
from converter.compression.users_errors import explained
from converter.compression.work_plan import Effort, TimeBudget, planned
from quantizers.calibration.open_statistics import StatisticsSource
from quantizers.calibration.statistics import Statistics
from quantizers.options import Prefer, QuantizeOptions, TargetCpu, with_effort
from quantizers.report import QuantizationReport
from quantizers.rewrites.prepare import refuse_quantized
from quantizers.static import quantize_model
from runtimes.atomic_files import refuse_existing
from runtimes.costs import Costs, CostsSource
from runtimes.defects import Defect, callers_own, contain
from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.of_target import judging_providers
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.errors import BudgetError, ModelError
from runtimes.machine_load import noted
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_bytes,
    model_inputs,
    model_outputs,
    refuse_nan_weights,
    save_model,
    weight_bytes,
)
from runtimes.options import RunOptions, flat_options
from runtimes.parity.budget import Budget, search_floors
from runtimes.parity.check import check
from runtimes.parity.report import ParityReport
from runtimes.parity.stressed import Stressed
from runtimes.profiling.profile import ProfileReport, profile
from runtimes.targets import Int8Form, Target

# Mixtures that the evaluation data may refuse: with many, the least noisy by chance would be found.
_MOST_REFUSALS = 3


@dataclass(frozen=True)
class QuantizeFileOptions:
    """What ``quantize`` does, beside what loss is acceptable.

    Attributes:
        keep_float: Names of nodes that stay in float.
        batch: Batch sizes to be fast at.
        effort: ``low`` repairs nothing but biases and times only the whole; ``high`` also learns
            the rounding of weights.
        target_cpu: ``vnni`` drops the guard against 16-bit sums that saturate elsewhere.
        decisions: An earlier report, whose choices are repeated instead of sought.
        force: Whether an existing output is replaced.
        prefer: What INT8 is kept for: ``balanced`` (faster, or smaller and no slower), ``speed``,
            or ``size``, slower on this machine or not.
        costs: What kernels cost: a cost table or its file; ``none`` measures anew and keeps
            nothing; None takes and fills the table of this machine in the user's cache.
        trust_costs: Whether a table of another machine decides, so that it decides for that one.
        time_budget: How long it may take: seconds, or text such as ``"5m"``. Work is planned by
            predicted cost, so that no clock decides; None plans for 3 minutes.
        target: The runtime that the model ships on, by name; None: ONNX Runtime, or that of the
            decisions.
        device: Where to measure and judge in place of this machine: a ``runtimes.Device``.
        workers: Processes of this machine that share what the noise of operators is measured by.
        cluster: Address of a Dask scheduler, ``tcp://host:8786``, whose workers share it instead.
    """

    keep_float: Sequence[str] = ()
    batch: Sequence[int] = (1,)
    effort: Effort = "default"
    target_cpu: TargetCpu = "any"
    decisions: DecisionSource | None = None
    force: bool = False
    prefer: Prefer = "balanced"
    costs: CostsSource = None
    trust_costs: bool = False
    time_budget: str | float | None = None
    target: Target | str | None = None
    device: Elsewhere | None = None
    workers: int = 1
    cluster: str | None = None


_DEFAULT_SECONDS = 180.0


@flat_options(budget=Budget, options=QuantizeFileOptions, run=RunOptions)
def quantize(
    model: ModelSource,
    output: str | os.PathLike[str] | None,
    data: Any = None,
    *,
    evaluate_on: Any = None,
    statistics: StatisticsSource | None = None,
    budget: Budget = Budget(),
    options: QuantizeFileOptions = QuantizeFileOptions(),
    run: RunOptions = RunOptions(),
) -> QuantizationReport:
    """Quantize an ONNX model to INT8 if that pays, and write the result to ``output``.

    The INT8 model is kept when it is inside the budget on the data that judge, and not slower at
    any of the batch sizes. What every operator costs in INT8 and in float on this machine is known
    or measured, once, and the fastest mixture inside the budget is sought; a race confirms it. Else
    the float model is written, simplified, and the report says why (``kept`` is false); so it is
    where quantization fails by kilnx' own fault (``defects``). The fields of all three dataclasses
    are taken as keywords, too.

    Args:
        model: An ONNX file or an ``onnx_ir.Model``, in float.
        output: The file to write; None writes nothing.
        data: What ``Dataset.open`` takes; calibrates.
        evaluate_on: The same; judges. Without it, ``data`` is split.
        statistics: Files that ``calibrate`` wrote, of all shards, in place of ``data``, and what
            judges is ``evaluate_on``. Or what ``collect_statistics`` made of ``data``.
        budget: What loss is acceptable. Without a ``metric``, the labels choose one.
        options: What stays in float, which batch sizes matter, effort, decisions to replay.
        run: Threads, seed and progress.

    Returns:
        What became of every operator, the parity and the latency.

    Raises:
        ModelError: The file is not a float ONNX model, or the target does not run it.
        RuntimeUnavailable: The target's engine is not installed.
        DataError: The data do not fit, ``output`` exists, the time budget is too small, or the
            statistics do not make a whole.
        BudgetError: The decisions keep an INT8 model that is outside the budget here.

    Example:
        >>> report = quantize("model.onnx", "int8.onnx", "samples.npz", effort="low")
        >>> report.calibration_samples
        32
    """
    check_preference(options.prefer)
    time_budget = TimeBudget.of(options.time_budget, _DEFAULT_SECONDS, options.effort)
    files = () if statistics is None or isinstance(statistics, Statistics) else statistics
    inputs = (model, data, evaluate_on, options.decisions, *files)
    if output is not None:
        refuse_existing(output, force=options.force, inputs=inputs)
    require_device(options)
    decisions = None if options.decisions is None else Decisions.open(options.decisions)
    target = open_target(options.target, decisions)
    run = replace(run, progress=callers_own(run.progress))
    source = load_model(model)
    refuse_quantized(source)
    refuse_nan_weights(source, str(model) if source is not model else "the model")
    reference, defects = simplified(source)
    reference = fitted(reference, target, int8=True)
    known, data = known_beforehand(statistics, reference, data, evaluate_on)
    samples, resolved, _ = open_judged(reference, data, evaluate_on, budget, run.seed)
    costs = costs_of(options, run, target.clock)
    pair = samples.calibration, samples.evaluation
    work, unplanned = planned(
        time_budget, reference, pair, costs, ("quantize",), calibrated=known is not None
    )
    defects = (*defects, *unplanned)
    options = replace(options, effort=work.effort, prefer=preferred(options.prefer, target))
    told = refuse_wrong(reference, samples.evaluation, target, run.threads)
    judge = _Judge(reference, samples, resolved, run, costs, target, options.device, known)
    found: Defect | str | tuple[ir.Model, QuantizationReport] = target.no_int8
    if target.int8 is not None:
        found = contain(
            "quantization",
            lambda: _on_target(judge, options, decisions),
            partial(explained, data=(samples.evaluation,) if files else pair),
        )
    result, report = found if isinstance(found, tuple) else _float(reference, found)
    report = replace(
        report,
        notes=(
            *(*map(str, defects), *told, *samples.notes),
            *(*costs.notes, *work.notes, *report.notes),
        ),
        defects=(*defects, *report.defects),
        target=target.name,
    )
    if output is not None:
        save_model(result, output, force=options.force, inputs=inputs)
    return report


def _on_target(
    judge: _Judge, options: QuantizeFileOptions, decisions: Decisions | None
) -> tuple[ir.Model, QuantizationReport]:
    """The better of INT8 and float; float where an engine of the target does not run INT8 of it."""
    try:
        return _quantized(judge, options, decisions)
    except ModelError as error:
        if judge.target.is_default:
            raise
        return _float(judge.reference, f"{judge.target.title} does not run its INT8: {error}")


def _quantized(
    judge: _Judge, options: QuantizeFileOptions, decisions: Decisions | None
) -> tuple[ir.Model, QuantizationReport]:
    """The better of INT8 and float, and what decided."""
    quantized, report = quantize_model(
        judge.reference,
        judge.samples.calibration,
        options=_quantize_options(options, judge, decisions),
        statistics=judge.known,
        progress=judge.run.tell,
        accept=judge.accept,
    )
    if judge.refused:
        mixtures = "one mixture was" if judge.refused == 1 else f"{judge.refused} mixtures were"
        note = f"{mixtures} outside the budget on the data that judge"
        report = replace(report, notes=(note, *report.notes))
    if report.kept:
        parity = judge.parity(quantized)
        if decisions is not None:
            report = _replay(report, parity, kept=decisions.kept.get("quantize", True))
        else:
            latency = judge.latency(quantized, options.batch)
            gain = judge.gain(quantized, options.batch, options.prefer)
            report = _decide(report, parity, latency, gain)
            report = replace(report, notes=(*report.notes, *noted([latency.load])))
    return quantized if report.kept else judge.reference, report


def _float(reference: ir.Model, why: Defect | str) -> tuple[ir.Model, QuantizationReport]:
    """The float model, where quantizing it failed or the target reads no INT8."""
    size = weight_bytes(reference)
    defects = (why,) if isinstance(why, Defect) else ()
    report = QuantizationReport(False, str(why), (), 0, size, size, {}, {}, defects=defects)
    return reference, report


@dataclass
class _Judge:
    """Holds candidates against the float model, and counts those that it refused."""

    reference: ir.Model
    samples: Samples
    budget: Budget
    run: RunOptions
    costs: Costs
    target: Target
    device: Elsewhere | None = None
    known: Statistics | None = None
    refused: int = field(default=0, init=False)

    @cached_property
    def _whole(self) -> RememberingRuntime:
        """The float model, which runs once for all candidates."""
        return RememberingRuntime(self.reference, threads=self.run.threads, config=NO_SPINNING)

    @cached_property
    def _stressed(self) -> Stressed:
        """What the float model does on perturbed samples: once for all candidates."""
        run = self.run
        data, budget = self.samples.evaluation, self.budget
        return Stressed(self._whole, data, budget, run.seed, run.threads, progress=run.tell)

    def parity(self, candidate: ir.Model) -> ParityReport:
        """Whether ``candidate`` is inside the budget on the data that judge."""
        return check(
            self._whole,
            candidate,
            self.samples.evaluation,
            budget=self.budget,
            stressed=self._stressed,
            providers=judging_providers(self.target),
            threads=self.run.threads,
            device=self.device,
        )

    def accept(self, candidate: ir.Model) -> bool:
        """Whether the search may go on with ``candidate``; after a few refusals always."""
        passed = self.parity(candidate).passed
        self.refused += not passed
        return passed or self.refused > _MOST_REFUSALS

    def gain(self, candidate: ir.Model, batch: Sequence[int], prefer: Prefer) -> Gain:
        """What ``candidate`` is worth by the cost table, or by the clock of another engine."""
        if self.target.clock != "cpu":
            return Gain.of(self.latency(candidate, batch), prefer)
        feeds = timed_feeds(self.samples.evaluation, model_inputs(self.reference), batch)
        share = model_bytes(candidate) / model_bytes(self.reference)
        return Gain.predicted(candidate, self.reference, feeds, self.costs, share, prefer)

    def latency(self, candidate: ir.Model, batch: Sequence[int]) -> ProfileReport:
        """How fast ``candidate`` is next to the float model."""
        self.run.tell("timing next to the float model")
        return profile(
            candidate,
            against=self.reference,
            provider=self.target.clock,
            data=self.samples.evaluation,
            batch=batch,
            threads=self.run.threads,
            seed=self.run.seed,
            device=self.device,
        )


def _quantize_options(
    options: QuantizeFileOptions, judge: _Judge, decisions: Decisions | None
) -> QuantizeOptions:
    outputs = model_outputs(judge.reference)
    agreement, sqnr = search_floors(outputs, judge.samples.evaluation, judge.budget)
    precisions = None if decisions is None else decisions.precisions or {}
    plain = QuantizeOptions(
        keep_float=frozenset(options.keep_float),
        threads=judge.run.threads,
        target_cpu=options.target_cpu,
        measure=options.effort != "low",
        batches=tuple(options.batch),
        min_sqnr=sqnr,
        min_agreement=agreement,
        precisions=precisions,
        prefer=options.prefer,
        costs=judge.costs,
        form=judge.target.int8 or Int8Form(),
        workers=options.workers,
        cluster=options.cluster,
    )
    return with_effort(plain, options.effort)


def _replay(report: QuantizationReport, parity: ParityReport, *, kept: bool) -> QuantizationReport:
    if kept and not parity.passed:
        raise BudgetError(
            f"the decisions keep the INT8 model, but here it is outside the budget: {parity.reason}"
        )
    reason = f"as decided in the report that is replayed; {parity.reason}"
    return replace(report, kept=kept, reason=reason, parity=parity.to_dict())


def _decide(
    report: QuantizationReport, parity: ParityReport, latency: ProfileReport, gain: Gain
) -> QuantizationReport:
    if not parity.passed:
        kept, reason = False, f"INT8 is outside the budget: {parity.reason}"
    elif not gain.pays:
        kept, reason = False, f"INT8 is {gain.verdict}"
    elif lost := lost_races(latency, gain.prefer):
        kept, reason = False, f"INT8 is {lost}"
    else:
        kept, reason = True, f"{gain}; {parity.reason}"
    return replace(
        report,
        kept=kept,
        reason=reason,
        parity=parity.to_dict(),
        latency=latency.to_dict(),
        float_bytes=latency.against_size_bytes,
        int8_bytes=latency.size_bytes,
    )
