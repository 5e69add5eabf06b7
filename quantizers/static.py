"""Static quantization of a graph: plan, calibrate, place, and look whether it fused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

import onnx_ir as ir

from quantizers.bias_correction import measure_bias_shifts
from quantizers.calibrate import calibrate
from quantizers.fusion import Fusion, examine_fusion
from quantizers.grids import assign_grids, observed_values
from quantizers.observers import MinMaxObserver, Range
from quantizers.options import DEFAULT_OPTIONS, QuantizeOptions
from quantizers.plan import Plan, is_float, make_plan
from quantizers.prepare import prepare
from quantizers.qdq import place
from quantizers.report import OperatorReport, QuantizationReport
from runtimes.base import Array
from runtimes.dataset import Dataset
from runtimes.errors import ModelError
from runtimes.modelfile import model_inputs, weight_bytes

Progress = Callable[[int], None]

_FEW_SAMPLES = 32


def quantize_model(
    model: ir.Model,
    data: Dataset,
    *,
    options: QuantizeOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> tuple[ir.Model, QuantizationReport]:
    """Quantize ``model`` to INT8 in Q/DQ form; whether it is worth it, the caller judges.

    ``model`` (float32, BatchNorm folded) stays as it is; the result shares the weights that
    stay in float. Activations are unsigned 8-bit per tensor with ranges from ``data``, weights
    signed 8-bit per channel, biases INT32. Operators that ONNX Runtime then still runs in float
    are returned to float, with the reason in the report. ``progress`` is called with the number
    of samples done in each pass over the data.

    Raises ``ModelError`` for a model that is quantized already or does not run, and
    ``DataError`` for data that do not fit, hold no samples, or lead to NaN or infinities.
    """
    source = prepare(model)
    data = data.bind(model_inputs(source))
    keep_float = _requested(source.graph, options.keep_float)
    ranges: dict[str, Range] = {}
    shifts: dict[str, Array] | None = None if options.bias_correction else {}
    samples = 0
    while True:
        result = source.clone()
        plan = make_plan(result.graph, keep_float)
        if not any(unit.rule.kind == "compute" for unit in plan.units):
            return source, _report(source, source, plan, None, samples=samples, ranges={}, notes=[])
        watched = [str(value.name) for value in observed_values(plan)]
        missing = {name: MinMaxObserver() for name in watched if name not in ranges}
        if missing:
            samples = calibrate(source, data, missing, options=options, progress=progress)
            ranges.update({name: observer.range() for name, observer in missing.items()})
        used = {name: ranges[name] for name in watched}
        place(result.graph, plan, assign_grids(plan, used), shifts or {})
        _forget_inferred_types(result.graph)
        fusion = examine_fusion(result, plan)
        if fusion.unfused:
            keep_float.update(fusion.unfused)
            shifts = None if options.bias_correction else {}
        elif shifts is None:
            shifts = measure_bias_shifts(source, result, plan, data, options=options)
        else:
            notes = []
            if options.bias_correction and not shifts:
                notes.append("biases are not corrected: a few samples' activations exceed memory")
            report = _report(
                source, result, plan, fusion, samples=samples, ranges=used, notes=notes
            )
            return result, report


def _forget_inferred_types(graph: ir.Graph) -> None:
    """Leave out of the file what shape inference finds again: INT8 files are small."""
    computed = (value for node in graph for value in node.outputs)
    for value in (*computed, *graph.initializers.values()):
        if not value.is_graph_output() and not value.is_graph_input():
            value.type, value.shape = None, None


def _requested(graph: ir.Graph, names: frozenset[str]) -> dict[str, str]:
    have = {str(node.name) for node in graph}
    for name in sorted(names):
        if name not in have:
            close = difflib.get_close_matches(name, have, n=3)
            hint = f"; close to it: {', '.join(map(repr, close))}" if close else ""
            raise ModelError(f"there is no node {name!r} that could be kept in float{hint}")
    return dict.fromkeys(names, "kept in float on request")


def _report(
    source: ir.Model,
    result: ir.Model,
    plan: Plan,
    fusion: Fusion | None,
    *,
    samples: int,
    ranges: Mapping[str, Range],
    notes: list[str],
) -> QuantizationReport:
    units = {unit.name: unit for unit in plan.units}
    parts = {str(node.name): unit for unit in plan.units for node in unit.absorbed}
    operators = []
    for node in source.graph:
        name = str(node.name)
        if name in units:
            operators.append(OperatorReport(name, node.op_type, "int8", True, None))
        elif name in parts:
            whole = f"part of {parts[name].node.op_type} {parts[name].name}"
            operators.append(OperatorReport(name, node.op_type, "int8", True, whole))
        elif any(is_float(output) for output in node.outputs):
            reason = plan.float_reasons[name]
            operators.append(OperatorReport(name, node.op_type, "float32", None, reason))
    compute = [unit for unit in plan.units if unit.rule.kind == "compute"]
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
        float_weight_bytes=weight_bytes(source),
        int8_weight_bytes=weight_bytes(result),
        optimized_operators=dict(sorted(fusion.operators.items())) if fusion else {},
        ranges={name: (span.low, span.high) for name, span in ranges.items()},
        notes=tuple(notes),
    )
