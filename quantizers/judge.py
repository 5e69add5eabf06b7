"""``quantize``: an ONNX file in, the better of its INT8 and its float form out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from converter.passes import optimize
from quantizers.options import QuantizeOptions
from quantizers.prepare import refuse_quantized
from quantizers.report import QuantizationReport
from quantizers.static import Progress, quantize_model
from runtimes.compare import ParityReport, check
from runtimes.dataset import Dataset
from runtimes.files import refuse_existing
from runtimes.modelfile import ModelSource, load_model, model_inputs, save_model
from runtimes.profile import ProfileReport, profile

# Half of the data calibrates, so that the other half judges as well as it can.
_CALIBRATION_SHARE = 0.5

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
    force: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> QuantizationReport:
    """Quantize an ONNX model to INT8 if that pays, and write the result to ``output``.

    ``data`` (what ``Dataset.open`` takes) calibrates and ``evaluate_on`` judges; without it,
    ``data`` is split so that no sample does both. The INT8 model is kept when, on the
    evaluation data, ``metric`` drops by at most ``max_drop`` (without a metric: top-1 agreement
    with the float model reaches ``min_agreement``, 0 … 1, and the SQNR ``min_sqnr`` dB), and
    when it is not slower at any of the ``batch`` sizes with ``threads`` threads on the CPU.
    Else the float model is written, simplified, and the report says why (``kept`` is false).
    ``keep_float`` names nodes that stay in float. ``output`` None writes nothing.

    Raises ``ModelError`` for a file that is not a float ONNX model, ``DataError`` for data that
    do not fit and for an ``output`` that exists, unless ``force``.
    """
    if output is not None:
        refuse_existing(output, force=force)
    source = load_model(model)
    refuse_quantized(source)
    simplified = optimize(source.clone())
    calibration, evaluation, notes = _split(simplified, data, evaluate_on, seed)
    options = QuantizeOptions(keep_float=frozenset(keep_float), threads=threads)
    quantized, report = quantize_model(simplified, calibration, options=options, progress=progress)
    if metric is None and evaluation.label_names:
        notes = (*notes, "no metric was named: the labels are not used, agreement and SQNR judge")
    report = replace(report, notes=(*notes, *report.notes))
    if report.kept:
        parity = check(
            simplified,
            quantized,
            evaluation,
            metric=metric,
            max_drop=None if metric is None else max_drop,
            min_agreement=min_agreement if metric is None else None,
            min_sqnr=min_sqnr if metric is None else None,
            threads=threads,
        )
        latency = profile(
            quantized, against=simplified, data=evaluation, batch=batch, threads=threads, seed=seed
        )
        report = _decide(report, parity, latency)
    if output is not None:
        save_model(quantized if report.kept else simplified, output, force=force)
    return report


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
