"""Static quantization of a graph: calibrate, repair what hurts, place, and report."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx_ir as ir

from quantizers.calibration.open_statistics import StatisticsSource, open_statistics
from quantizers.calibration.statistics import Statistics, observe
from quantizers.mixed_precision.candidate import (
    FloatModel,
    QuantizedCandidate,
    build_candidate,
    score,
)
from quantizers.mixed_precision.choose import Accept, Choice, choose_mixture
from quantizers.options import DEFAULT_OPTIONS, QuantizeOptions
from quantizers.policy.kept_float import float_in, replayed_floats, requested
from quantizers.policy.plan import Plan, Unit, is_float, make_plan
from quantizers.qdq.dynamic import find_weights_only
from quantizers.qdq.signed import to_signed
from quantizers.repairs import repaired
from quantizers.report import OperatorReport, QuantizationReport
from quantizers.rewrites.half_precision import store_half
from quantizers.rewrites.prepare import prepare
from quantizers.rewrites.tied_tables import TieQuantizedTables
from quantizers.weights.int8 import WEIGHT_LEVELS
from runtimes.data.dataset import Dataset
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.engines.runtime import Runtime
from runtimes.onnx_files.load_save import model_inputs, weight_bytes
from runtimes.progress import Progress, silent

_FEW_SAMPLES = 32

# One table for two uses halves it; twice the noise is too much for that.
_LARGEST_LOSS_OF_TIES_DB = 3.0


def quantize_model(
    model: ir.Model,
    data: Dataset,
    *,
    options: QuantizeOptions = DEFAULT_OPTIONS,
    statistics: StatisticsSource | None = None,
    progress: Progress | None = None,
    accept: Accept | None = None,
) -> tuple[ir.Model, QuantizationReport]:
    """Quantize ``model`` to INT8 in Q/DQ form; whether it is worth it, the caller judges.

    Activations are unsigned 8-bit per tensor, weights signed 8-bit per channel, biases INT32
    (Krishnamoorthi 2018, arXiv:1806.08342). Operators that ONNX Runtime then still runs in float
    are returned to float, with the reason in the report.

    Args:
        model: In float32, BatchNormalization folded; it stays as it is, and the result shares
            the weights that stay in float.
        data: Samples that calibrate.
        options: What stays in float, how ranges and rounding are chosen, whether to measure.
        statistics: Ranges that were collected before, in place of a pass over ``data``: those of
            ``collect_statistics``, or the files that ``calibrate`` wrote.
        progress: Called with each stage, and the samples or operators done.
        accept: Asked about the mixture found where ``options`` measure; one that it refuses gets
            further operators in float.

    Returns:
        The model, and what became of every operator.

    Raises:
        ModelError: The model is quantized already, or does not run.
        DataError: The data do not fit, hold no samples, or lead to NaN or infinities.

    Example:
        >>> model, data = load_model("model.onnx"), Dataset.open("samples.npz")
        >>> quantized, report = quantize_model(model, data)
        >>> {operator.precision for operator in report.operators}
        {'int8'}
    """
    source = prepare(model)
    data = data.bind(model_inputs(source))
    keep_float = {
        **float_in(source.graph, options.form),
        **requested(source.graph, options.keep_float),
    }
    replayed = replayed_floats(source.graph, options.precisions)
    plan = make_plan(source.graph, keep_float, options.qdq)
    weights_only = find_weights_only(source.graph, keep_float, options.form)
    if not weights_only and not any(unit.operator.kind == "compute" for unit in plan.units):
        return _unquantized(source, plan, samples=0)
    if statistics is None:
        everything = make_plan(source.graph, form=options.qdq)
        statistics = observe(source, everything, data, options, progress)
    elif not isinstance(statistics, Statistics):
        statistics = open_statistics(statistics, model).statistics
    statistics = statistics.of(str(value.name) for value in plan.possible_values())
    tell = progress or silent
    with RememberingRuntime(source, threads=options.threads, config=NO_SPINNING) as reference:
        floats = FloatModel(source, reference, keep_float, replayed)
        found = _quantized(floats, statistics, data, options, accept, tell)
    if found is None:
        return _unquantized(source, plan, samples=statistics.samples)
    best, choice, notes = found
    report = _report(
        source, best, best.plan, samples=statistics.samples, notes=notes, choice=choice
    )
    return store_half(best.model), report


def _quantized(  # noqa: PLR0917
    floats: FloatModel,
    statistics: Statistics,
    data: Dataset,
    options: QuantizeOptions,
    accept: Accept | None,
    tell: Progress,
) -> tuple[QuantizedCandidate, Choice | None, list[str]] | None:
    """The best INT8 model, how its operators were chosen, and notes; None where nothing is INT8."""
    reference, replayed = floats.reference, floats.replayed
    # Learning takes long: what is tried on the way is rounded in turn.
    trial = replace(options, rounding="in turn") if options.rounding == "learned" else options
    tell("trying repairs")
    best = repaired(floats, statistics, data, trial)
    if best is None:
        return None
    notes: list[str] = []
    choice: Choice | None = None
    if replayed:
        # On the way of the run that decided: repairs were chosen before operators were.
        best = build_candidate(best.basis, {**best.kept, **replayed}, data, trial)
        if best is None:
            return None
    if options.measure and options.precisions is None:
        choice = choose_mixture(floats, best, data, trial, accept, progress=tell)
        best = choice.built
        notes += choice.notes
    if options.rounding == "learned":
        tell("learning the rounding of weights")
        learned = build_candidate(best.basis, best.kept, data, options)
        turned, gained = (
            score(reference, one.model, data, options).sqnr_db if one is not None else -math.inf
            for one in (best, learned)
        )
        if learned is not None and gained > turned:
            best = learned
        else:
            notes.append("learned rounding did no better than rounding in turn and was not used")
    if not best.corrected:
        notes.append("biases are not corrected: a few samples' activations exceed memory")
    notes += best.basis.repairs()
    fewer = [name for name, levels in best.codes.levels.items() if levels < WEIGHT_LEVELS]
    if fewer:
        notes.append(
            f"{len(fewer)} operator{'s have' if len(fewer) > 1 else ' has'} fewer levels of "
            "weights, so that 16-bit sums cannot "
            "saturate on CPUs without VNNI; target_cpu vnni does without"
        )
    best, tie_notes = _tied(reference, _in_form(best, options), data, options)
    return best, choice, notes + tie_notes


def _unquantized(
    source: ir.Model, plan: Plan, *, samples: int
) -> tuple[ir.Model, QuantizationReport]:
    report = _report(source, None, plan, samples=samples, notes=[])
    return store_half(source), report


def _in_form(best: QuantizedCandidate, options: QuantizeOptions) -> QuantizedCandidate:
    """``best``, its model written as the engine reads it; nothing computes otherwise by that."""
    if options.qdq.symmetric:
        to_signed(best.model.graph)
    return best


def _tied(
    reference: Runtime, best: QuantizedCandidate, data: Dataset, options: QuantizeOptions
) -> tuple[QuantizedCandidate, list[str]]:
    """Let the two uses of a tied table read one table of codes, unless that costs too much."""
    tied = best.model.clone()
    if not TieQuantizedTables()(tied).modified:
        return best, []
    before, after = (score(reference, model, data, options).sqnr_db for model in (best.model, tied))
    if after < min(before, max(options.min_sqnr, before - _LARGEST_LOSS_OF_TIES_DB)):
        return best, [f"a tied table is stored twice: once would be {after:.1f} dB SQNR"]
    return replace(best, model=tied), ["a tied table is quantized once, for both of its uses"]


def _method(unit: Unit, built: QuantizedCandidate | None) -> str | None:
    producer = unit.output.producer()
    if built is None or producer is None or not unit.operator.int8_output:
        return None
    source = built.plan.source(unit.output)
    return built.basis.methods.get(built.names.get(source, str(source.name)))


def _measured(
    one: OperatorReport, built: QuantizedCandidate | None, choice: Choice | None
) -> OperatorReport:
    """Add what is known by measurement."""
    if built is not None and one.name in built.codes.levels:
        one = replace(one, weight_levels=built.codes.levels[one.name])
    if choice is None:
        return one
    decibels = choice.sensitivities.get(one.name)
    cost = choice.costs.get(one.name)
    if decibels is not None and math.isfinite(decibels):
        one = replace(one, sensitivity_db=decibels)
    if cost is not None:
        one = replace(one, float_share=cost.float_time / 1e6, int8_share=cost.int8_time / 1e6)
    return one


def _report(
    source: ir.Model,
    built: QuantizedCandidate | None,
    plan: Plan,
    *,
    samples: int,
    notes: list[str],
    choice: Choice | None = None,
) -> QuantizationReport:
    units = {unit.name: unit for unit in plan.units} if built else {}
    parts = {str(node.name): unit for unit in units.values() for node in unit.absorbed}
    single = {one.name: one.form for one in built.weights_only} if built else {}
    operators = []
    for node in source.graph:
        name = str(node.name)
        one = OperatorReport(name, node.op_type, "int8", True, None)
        if name in single:
            one = replace(one, precision=single[name], fused=None)
        elif name in units:
            one = replace(one, scale_method=_method(units[name], built))
        elif name in parts:
            one = replace(one, reason=f"part of {parts[name].node.op_type} {parts[name].name}")
        elif any(is_float(output) for output in node.outputs):
            reason = plan.float_reasons.get(name) or (built.kept.get(name) if built else None)
            reason = reason or "nothing with weights is left in INT8"
            one = replace(one, precision="float32", fused=None, reason=reason)
        else:
            continue
        operators.append(_measured(one, built, choice))
    compute = [unit.name for unit in units.values() if unit.operator.kind == "compute"]
    compute += list(single)
    if compute and samples < _FEW_SAMPLES:
        notes.append(
            f"calibrated on {samples} samples only: ranges may be too narrow; "
            f"{_FEW_SAMPLES} or more are better"
        )
    return QuantizationReport(
        kept=bool(compute),
        reason=f"{len(compute)} operators with weights run in INT8"
        if compute
        else "no operator with weights can run in INT8; see the reasons by operator",
        operators=tuple(operators),
        calibration_samples=samples,
        float_weight_bytes=_stored_bytes(source),
        int8_weight_bytes=_stored_bytes(built.model if built else source),
        optimized_operators=dict(sorted(built.fusion.operators.items())) if built else {},
        ranges={name: (span.low, span.high) for name, span in built.ranges.items()}
        if built
        else {},
        notes=tuple(notes),
    )


def _stored_bytes(model: ir.Model) -> int:
    return weight_bytes(store_half(model.clone()))
