"""``quantize``: an ONNX file in, the better of its INT8 and its float form out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import onnx_ir as ir

from converter.compression.decisions import load_precisions, was_kept
from converter.passes import optimize
from quantizers.options import QuantizeOptions, TargetCpu, with_effort
from quantizers.report import QuantizationReport
from quantizers.rewrites.prepare import refuse_quantized
from quantizers.static import Progress, quantize_model
from runtimes.atomic_files import refuse_existing
from runtimes.data.dataset import Dataset
from runtimes.errors import BudgetError
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_inputs,
    model_outputs,
    refuse_nan_weights,
    save_model,
)
from runtimes.parity.budget import default_metric, search_floors
from runtimes.parity.check import ParityReport, check
from runtimes.profiling.profile import ProfileReport, profile

# Half of the data calibrates, so that the other half judges as well as it can.
_CALIBRATION_SHARE = 0.5

Effort = Literal["low", "default", "high"]

# Mixtures that the evaluation data may refuse: with many, the least noisy by chance would be found.
_MOST_REFUSALS = 3

# Interleaved runs on a shared machine do not tell two models apart below this.
_NOISE = 0.02


def quantize(
    model: ModelSource,
    output: str | os.PathLike[str] | None,
    data: Any,
    *,
    evaluate_on: Any = None,
    metric: str | None = None,
    max_drop: float = 0.01,
    min_agreement: float = 0.99,
    min_sqnr: float = 20.0,
    keep_float: Sequence[str] = (),
    batch: Sequence[int] = (1,),
    threads: int = 1,
    effort: Effort = "default",
    target_cpu: TargetCpu = "any",
    decisions: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    force: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> QuantizationReport:
    """Quantize an ONNX model to INT8 if that pays, and write the result to ``output``.

    ``data`` (what ``Dataset.open`` takes) calibrates and ``evaluate_on`` judges; without it,
    ``data`` is split so that no sample does both. The INT8 model is kept when, on the
    evaluation data, ``metric`` (where there are labels, the one they mean) drops by at most
    ``max_drop`` (without labels: top-1 agreement with the float model reaches ``min_agreement``,
    0 … 1, and the SQNR ``min_sqnr`` dB), and when it is not slower at any of the ``batch`` sizes
    with ``threads`` threads on the CPU. Every operator is timed in INT8 and in float, and the
    fastest mixture inside the budget is sought. Else the float model is written, simplified, and
    the report says why (``kept`` is false).

    ``effort``: "low" repairs nothing but biases and times only the whole, "high" also learns the
    rounding of weights. ``target_cpu``: "vnni" drops the guard against saturating 16-bit sums.
    ``decisions``: an earlier report (``to_dict`` or its JSON file), whose choices by timing
    are repeated instead of timing anything. ``keep_float`` names nodes that stay in float.
    ``output`` None writes nothing.

    Raises ``ModelError`` for a file that is not a float ONNX model, ``DataError`` for data that
    do not fit and for an ``output`` that exists, unless ``force``, and ``BudgetError`` where
    ``decisions`` keep an INT8 model that is outside the budget here.
    """
    if output is not None:
        refuse_existing(output, force=force)
    source = load_model(model)
    refuse_quantized(source)
    refuse_nan_weights(source, str(model) if source is not model else "the model")
    simplified = optimize(source.clone())
    calibration, evaluation, notes = _split(simplified, data, evaluate_on, seed)
    if metric is None:
        metric = default_metric(model_outputs(simplified), evaluation)
        if metric is not None:
            notes = (*notes, f"the labels judge by {metric}; name another metric to change that")
        elif evaluation.label_names:
            notes = (*notes, "the labels fit no metric by themselves: agreement and SQNR judge")
    agreement, sqnr = search_floors(
        model_outputs(simplified),
        evaluation,
        metric,
        max_drop=max_drop,
        min_agreement=min_agreement,
        min_sqnr=min_sqnr,
    )
    options = with_effort(
        QuantizeOptions(
            keep_float=frozenset(keep_float),
            threads=threads,
            target_cpu=target_cpu,
            measure=effort != "low",
            batches=tuple(batch),
            min_sqnr=sqnr,
            min_agreement=agreement,
            precisions=None if decisions is None else load_precisions(decisions),
        ),
        effort,
    )

    def judged(candidate: ir.Model) -> ParityReport:
        return check(
            simplified,
            candidate,
            evaluation,
            metric=metric,
            max_drop=None if metric is None else max_drop,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            threads=threads,
        )

    refused = 0

    def accept(candidate: ir.Model) -> bool:
        nonlocal refused
        passed = judged(candidate).passed
        refused += not passed
        return passed or refused > _MOST_REFUSALS

    quantized, report = quantize_model(
        simplified, calibration, options=options, progress=progress, accept=accept
    )
    if refused:
        notes = (*notes, f"{refused} mixtures were outside the budget on the data that judge")
    report = replace(report, notes=(*notes, *report.notes))
    if report.kept:
        parity = judged(quantized)
        if decisions is not None:
            report = _replay(report, parity, kept=was_kept(decisions))
            if output is not None:
                save_model(quantized if report.kept else simplified, output, force=force)
            return report
        latency = profile(
            quantized, against=simplified, data=evaluation, batch=batch, threads=threads, seed=seed
        )
        report = _decide(report, parity, latency)
    if output is not None:
        save_model(quantized if report.kept else simplified, output, force=force)
    return report


def _replay(report: QuantizationReport, parity: ParityReport, *, kept: bool) -> QuantizationReport:
    if kept and not parity.passed:
        raise BudgetError(
            f"the decisions keep the INT8 model, but here it is outside the budget: {parity.reason}"
        )
    reason = f"as decided in the report that is replayed; {parity.reason}"
    return replace(report, kept=kept, reason=reason, parity=parity.to_dict())


def _split(
    model: ir.Model, data: Any, evaluate_on: Any, seed: int
) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    specs = model_inputs(model)
    calibration = Dataset.open(data, inputs=specs)
    if evaluate_on is not None:
        evaluation = Dataset.open(evaluate_on, inputs=specs)
        note = f"calibrated on {calibration.name}, judged on {evaluation.name}"
        return calibration, evaluation, (note, *calibration.notes, *evaluation.notes)
    first, second = calibration.split(_CALIBRATION_SHARE, seed)
    note = (
        f"{calibration.name} was split: {first.num_samples} samples calibrate and "
        f"{second.num_samples} others judge (seed {seed})"
    )
    return first, second, (note, *calibration.notes)


def _decide(
    report: QuantizationReport, parity: ParityReport, latency: ProfileReport
) -> QuantizationReport:
    ratios = ", ".join(f"{found.ratio:.2f}× at batch {found.batch}" for found in latency.batches)
    float_bytes, int8_bytes = latency.against_size_bytes, latency.size_bytes
    assert float_bytes is not None
    assert int8_bytes is not None
    smaller = int8_bytes / float_bytes
    gain = f"{ratios} as fast as float, {smaller:.2f}× the size"
    if not parity.passed:
        kept, reason = False, f"INT8 is outside the budget: {parity.reason}"
    elif latency.slower(_NOISE):
        kept, reason = False, f"INT8 does not pay here: {gain}"
    elif smaller > 1.0 - _NOISE and not latency.faster(_NOISE):
        kept, reason = False, f"INT8 is neither smaller nor surely faster: {gain}"
    else:
        kept, reason = True, f"{gain}; {parity.reason}"
    return replace(
        report,
        kept=kept,
        reason=reason,
        parity=parity.to_dict(),
        latency=latency.to_dict(),
        float_bytes=float_bytes,
        int8_bytes=int8_bytes,
    )
