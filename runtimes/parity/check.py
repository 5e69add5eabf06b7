"""Is the candidate still the same model as the reference?"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runtimes.data.dataset import Dataset
from runtimes.defects import Defect, contain
from runtimes.engines.batching import run_padded
from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING
from runtimes.errors import KilnxError
from runtimes.metrics.metric import open_metric
from runtimes.options import KerasOptions, RunOptions, flat_options
from runtimes.parity.budget import Budget
from runtimes.parity.candidate import compare_metrics
from runtimes.parity.check_options import CheckOptions
from runtimes.parity.choose_metric import refuse_other_classes
from runtimes.parity.comparison import Comparison, refuse_nan
from runtimes.parity.judged_by import fitting_batch
from runtimes.parity.layers.report import LayersReport
from runtimes.parity.likely_causes import likely_causes, with_causes
from runtimes.parity.notes import note_of_mask, note_of_metric
from runtimes.parity.opened import OpenedModels, opened_models
from runtimes.parity.output_error import OutputParity
from runtimes.parity.report import ParityReport
from runtimes.parity.rounding_noise import Noise, measure_noise
from runtimes.parity.shards.work import SentModels, refuse_spread, work_of
from runtimes.parity.stressed import Stressed
from runtimes.parity.verdict import (
    FAILED,
    PASSED,
    UNSURE,
    MetricParity,
    Rules,
    is_unsure,
    judge,
    too_few_samples,
)

__all__ = ["CheckOptions", "MetricParity", "OutputParity", "ParityReport", "check", "evaluate"]


@flat_options(budget=Budget, options=CheckOptions, keras=KerasOptions, run=RunOptions)
def check(
    reference: Any,
    candidate: Any,
    data: Any,
    *,
    budget: Budget = Budget(),
    options: CheckOptions = CheckOptions(),
    keras: KerasOptions = KerasOptions(),
    run: RunOptions = RunOptions(),
) -> ParityReport:
    """Run both models on the same data and judge whether the candidate may stand for the other.

    The first rule that applies decides: ``metric`` and ``max_drop`` (0.01, in the metric's unit;
    with ``strict`` the whole 95% interval of the drop must be inside, else the drop as measured),
    and for outputs without labels the floors of ``min_agreement`` and ``min_sqnr``, 99% and 20 dB;
    where the data have labels and no metric is named, the one that follows from them judges, or
    only informs where nothing at all is asked of a float candidate;
    ``rtol`` and ``atol``; ``min_agreement`` and ``min_sqnr``; else a float candidate may differ by
    16 times the reference's own rounding error, which is measured in float64 on a few samples
    (``rounding_noise``), and a quantized one needs agreement of 99% and 20 dB. NaN, infinity where
    the reference has none and other shapes or dtypes always fail. Metrics and floors hold on
    perturbed samples as well (``stress``). The fields of all four dataclasses are taken as
    keywords, too.

    Args:
        reference: What ``open_runtime`` takes, or a runtime that is open.
        candidate: The same.
        data: What ``Dataset.open`` takes, on the reference's inputs.
        budget: What loss is acceptable. Without a ``metric``, the labels choose one, unless
            ``rtol`` or ``atol`` say how near the outputs must be.
        options: Where the candidate runs, tolerances, and whether to compare layers.
        keras: How a reference that is a Keras file is read.
        run: Threads, seed and progress (in samples).

    Returns:
        The verdict, the errors of each output and the metrics of both.

    Raises:
        DataError: The data do not fit, ``max_drop`` stands without labels, or no metric follows
            from the labels.
        ModelError: The models have other inputs or outputs, the reference gives NaN, or the target
            does not run the candidate.
        RuntimeUnavailable: An engine is not installed.

    Example:
        >>> report = check("model.onnx", "model.onnx", "samples.npz", metric="top1")
        >>> report.passed, report.metrics[0].drop
        (True, 0.0)
    """
    refuse_spread(options)
    given = SentModels(reference, candidate, keras, data)
    with opened_models(reference, candidate, data, budget, options, keras, run) as opened:
        first, others, samples = opened.reference, opened.others, opened.samples
        options, rules, quantized = opened.options, opened.rules, opened.quantized
        report = _compare(opened, given, run)
        stressed = options.stressed or Stressed(
            first, samples, opened.budget, run.seed, run.threads, options.batch_size, run.tell
        )
        report = stressed.added(report, others[0].runtime, rules, quantized=quantized)
        causes = likely_causes(report, others, samples, rules, quantized=quantized)
        report = replace(report, notes=(*report.notes, *opened.notes))
        if options.layers:  # the walk has sessions of its own; a Keras model is loaded once
            opened.close_candidates()
            gc.collect()
            walked = contain(
                "the comparison of layers",
                lambda: _layers(first, candidate, samples, options, run.threads),
                lambda error: isinstance(error, KilnxError | OSError),
            )
            report = _with_layers(report, walked)
    return with_causes(report, causes)


def _with_layers(report: ParityReport, walked: LayersReport | Defect) -> ParityReport:
    """``report`` with the walk, or with what stood against it: the verdict rests on the outputs."""
    if isinstance(walked, Defect):
        return replace(report, notes=(*report.notes, str(walked)), defects=(walked,))
    return replace(report, layers=walked)


def _compare(opened: OpenedModels, given: SentModels, run: RunOptions) -> ParityReport:
    """Run all on the same batches and judge what differs."""
    first, others, samples, rules = opened.reference, opened.others, opened.samples, opened.rules
    found = Comparison(opened.how, first, others, samples)
    spread, told = opened.options.spread, tuple[str, ...]()
    if spread is None:
        found.run(samples, run.tell)
    else:
        work = work_of(opened, given, found, far=spread.far, threads=run.threads)
        told = spread(found, work, run.tell)
    count = found.samples
    masks = {name: one.mask for other in others for name, one in other.parity.items()}
    noise = measure_noise(first, found.probe.samples(), masks=masks) if found.how.probed else None
    outputs = tuple(_with_noise(output, noise) for other in others for output in other.results())
    metrics = compare_metrics(found.metrics, others, rules.allowed, count, run.seed)
    passed, reason = judge(outputs, metrics, rules, quantized=opened.quantized)
    few = None if passed else too_few_samples(outputs, rules, count)
    reason = f"{reason}; {few}" if few else reason
    masked = dict.fromkeys(note_of_mask(one) for one in outputs if one.mask)
    informing = () if rules.max_drop is not None else tuple(map(note_of_metric, metrics))
    return ParityReport(
        passed=passed,
        reason=reason,
        reference=first.name,
        candidate=others[0].runtime.name,
        samples=count,
        outputs=outputs,
        metrics=metrics,
        notes=(*samples.notes, *masked, *informing, *told),
        placements=tuple(other.runtime.placement for other in others),
        verdict=_verdict(passed, metrics, rules),
    )


@flat_options(run=RunOptions)
def evaluate(
    model: Any,
    data: Any,
    metric: str,
    *,
    provider: str = "cpu",
    batch_size: int = 32,
    run: RunOptions = RunOptions(),
) -> float:
    """The labelled ``metric`` of ``model`` (or an open runtime) over ``data``.

    Args:
        model: What ``open_runtime`` takes, or a runtime that is open.
        data: What ``Dataset.open`` takes, with labels.
        metric: Its name, such as ``top1``.
        provider: Where the model runs.
        batch_size: Samples that are run at a time, at most.
        run: Threads and progress (in samples).

    Returns:
        The metric, in its own unit.

    Raises:
        DataError: The data have no labels that fit.
        ModelError: An output is NaN.

    Example:
        >>> evaluate("model.onnx", "samples.npz", "top1")
        1.0
    """
    with borrow(model, provider, threads=run.threads, config=NO_SPINNING) as runtime:
        samples = Dataset.open(data, inputs=runtime.inputs)
        refuse_other_classes(runtime.outputs, samples)
        names = [spec.name for spec in runtime.outputs]
        state = open_metric(metric, names, samples.label_names)
        count = 0
        for batch in samples.batches(fitting_batch(runtime, batch_size)):
            outputs = run_padded(runtime, batch.feed)
            refuse_nan(outputs, batch, runtime)
            state.update(outputs, batch.labels, batch.indices)
            count += len(batch)
            run.tell("evaluating", count, samples.num_samples)
        return state.value()


def _layers(
    reference: Any, candidate: Any, data: Dataset, options: CheckOptions, threads: int
) -> LayersReport:
    from runtimes.parity.layers.compare_layers import compare_layers

    # A device runs whole models: layers are told apart here.
    provider = options.providers[0] if options.device is None else "cpu"
    return compare_layers(reference, candidate, data, provider=provider, threads=threads)


def _with_noise(output: OutputParity, noise: Noise | None) -> OutputParity:
    if noise is None or output.output not in noise.errors:
        return output
    return replace(output, noise=noise.errors[output.output], noise_method=noise.method)


def _verdict(passed: bool, metrics: Sequence[MetricParity], rules: Rules) -> str:
    allowed = [(metric, rules.allowed(metric.name)) for metric in metrics]
    if any(drop is not None and is_unsure(metric, drop) for metric, drop in allowed):
        return UNSURE
    return PASSED if passed else FAILED
