"""Is the candidate still the same model as the reference?"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.defects import Defect, contain
from runtimes.engines.batching import refuse_other_axes, run_padded
from runtimes.engines.elsewhere import Elsewhere, checked_device
from runtimes.engines.of_target import (
    check_file,
    chosen_target,
    judging_providers,
    notes_of,
)
from runtimes.engines.open_runtime import borrow, is_keras, is_runtime
from runtimes.engines.ort import NO_SPINNING, Optimization
from runtimes.engines.providers import require_providers
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError, KilnxError, ModelError
from runtimes.metrics.metric import open_metric, open_metrics
from runtimes.options import KerasOptions, RunOptions, flat_options
from runtimes.parity.budget import Budget
from runtimes.parity.candidate import Candidate, compare_metrics
from runtimes.parity.choose_metric import refuse_other_classes
from runtimes.parity.judged_by import fitting_batch, judged_by, notes_of_choice
from runtimes.parity.layers.report import LayersReport
from runtimes.parity.likely_causes import likely_causes, with_causes
from runtimes.parity.notes import note_of_mask, note_of_metric
from runtimes.parity.output_error import OutputParity
from runtimes.parity.places import opened_at, places_of
from runtimes.parity.report import ParityReport
from runtimes.parity.rounding_noise import Noise, Probe, measure_noise
from runtimes.parity.stressed import Stressed
from runtimes.parity.verdict import (
    FAILED,
    PASSED,
    UNSURE,
    MetricParity,
    Rules,
    float_rule_applies,
    is_unsure,
    judge,
    too_few_samples,
)
from runtimes.targets import Target

__all__ = ["MetricParity", "OutputParity", "ParityReport", "check", "evaluate"]


@dataclass(frozen=True)
class CheckOptions:
    """How ``check`` compares, besides what loss is acceptable.

    Attributes:
        providers: Where the candidate runs, each against the reference.
        optimizations: ONNX Runtime's levels that the candidate runs at: ``disabled``, ``basic``,
            ``extended``, ``all``.
        allow_fallback: Whether nodes may run elsewhere than on the provider that was asked for.
        rtol: Relative tolerance: each element within ``atol + rtol * |reference|``.
        atol: Absolute tolerance, likewise.
        batch_size: Samples that are run at a time, or as many as hold 4 MB of inputs.
        layers: Whether the models are also walked in step, to name the layer that departs.
        stressed: What the reference does on perturbed samples, where an earlier check found out.
        target: The runtime that the candidate ships on, by name, in place of ``providers``.
        device: Where the candidate runs in place of this machine: a ``runtimes.Device``.
    """

    providers: Sequence[str] = ("cpu",)
    optimizations: Sequence[Optimization] = ("all",)
    allow_fallback: bool = False
    rtol: float | None = None
    atol: float | None = None
    batch_size: int = 32
    layers: bool = False
    stressed: Stressed | None = None
    target: Target | str | None = None
    device: Elsewhere | None = None


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
    if not options.providers:
        raise ValueError("providers must name at least one provider")
    options, told = _on_target(options, candidate)
    places = places_of(options.providers, options.optimizations)
    if (device := checked_device(options.device)) is not None:
        device.require(options.providers)
    elif not (is_runtime(candidate) or is_keras(candidate)):  # said before the reference is loaded
        require_providers(options.providers)
    threads = run.threads
    reference = _loaded(reference, keras)
    with borrow(reference, "cpu", threads=threads, config=NO_SPINNING) as first:
        refuse_other_axes(first.inputs, first.outputs, first.name)
        with opened_at(places, candidate, options, threads) as others:
            matched = [note for other in others for note in other.match(first)]
            samples = Dataset.open(data, inputs=first.inputs)
            opened = (first, *(other.runtime for other in others))
            size = min(fitting_batch(one, options.batch_size) for one in opened)
            options = replace(options, batch_size=size)
            quantized = any(other.runtime.quantized for other in others)
            meant, chosen = _meant(first, samples, budget, options, quantized=quantized)
            report = _compare(first, others, samples, meant, options, run)
            stressed = options.stressed or Stressed(
                first, samples, meant, run.seed, threads, options.batch_size, run.tell
            )
            rules = meant.rules(rtol=options.rtol, atol=options.atol)
            report = stressed.added(report, others[0].runtime, rules, quantized=quantized)
            causes = likely_causes(report, others, samples, rules, quantized=quantized)
        notes = (*report.notes, *told, *chosen, *dict.fromkeys(matched))
        report = replace(report, notes=notes)
        if options.layers:  # the walk has sessions of its own; a Keras model is loaded once
            gc.collect()
            walked = contain(
                "the comparison of layers",
                lambda: _layers(first, candidate, samples, options, threads),
                lambda error: isinstance(error, KilnxError | OSError),
            )
            report = _with_layers(report, walked)
    return with_causes(report, causes)


def _on_target(options: CheckOptions, candidate: Any) -> tuple[CheckOptions, tuple[str, ...]]:
    """The options with the providers of their target, and what to say of it."""
    target = chosen_target(options.target, providers=options.providers)
    check_file(candidate, target)
    if target.is_default:
        return options, ()
    return replace(options, providers=judging_providers(target)), notes_of(target)


def _with_layers(report: ParityReport, walked: LayersReport | Defect) -> ParityReport:
    """``report`` with the walk, or with what stood against it: the verdict rests on the outputs."""
    if isinstance(walked, Defect):
        return replace(report, notes=(*report.notes, str(walked)), defects=(walked,))
    return replace(report, layers=walked)


def _meant(
    reference: Runtime,
    samples: Dataset,
    budget: Budget,
    options: CheckOptions,
    *,
    quantized: bool,
) -> tuple[Budget, tuple[str, ...]]:
    """The budget with the metric that labels mean and its drop, and what the user should know.

    A float candidate for which nothing was asked has to be the same within rounding, which is
    stricter: there the metric only informs.
    """
    refuse_other_classes(reference.outputs, samples)
    if options.rtol is not None or options.atol is not None:
        return budget, ()
    asked = (budget.metric, budget.max_drop, budget.min_agreement, budget.min_sqnr)
    if budget.asks_for_accuracy and samples.label_names:
        meant = budget.resolve(judged_by(reference, samples))
        budget = replace(budget, metric=meant.metric, drops=meant.drops)
    only_informs = not quantized and all(one is None for one in asked)
    metric = budget.metric
    if metric is None and samples.label_names:
        try:
            metric = budget.resolve(judged_by(reference, samples)).metric
        except DataError as error:
            if not only_informs:
                raise
            return budget, (f"the labels are not looked at: {error}",)
    if metric is None and budget.max_drop is not None:
        raise DataError(
            "max_drop is in the unit of a metric of labelled samples, and the data have no labels "
            "that one follows from; without them --min-agreement and --min-sqnr judge"
        )
    if only_informs:
        return replace(budget, metric=metric, max_drop=math.inf if metric else None), ()
    notes = () if budget.metric else notes_of_choice(metric, samples)
    return replace(budget, metric=metric, max_drop=budget.shared_drop if metric else None), notes


def _loaded(model: Any, keras: KerasOptions) -> Any:
    """A Keras file that needs options to be read, as a model; everything else as it is."""
    if keras == KerasOptions() or is_runtime(model) or not is_keras(model):
        return model
    from runtimes.keras_models.load import load_keras_model

    given = keras.to_dict()
    given.pop("signature")
    return load_keras_model(model, **given)


def _compare(  # noqa: PLR0917
    first: Runtime,
    others: Sequence[Candidate],
    samples: Dataset,
    budget: Budget,
    options: CheckOptions,
    run: RunOptions,
) -> ParityReport:
    """Run all on the same batches and judge what differs."""
    metric, rules = budget.metric, budget.rules(rtol=options.rtol, atol=options.atol)
    names = [spec.name for spec in first.outputs]
    metrics_of_reference = open_metrics(metric, names, samples.label_names) if metric else ()
    for other in others:
        other.start(names, rules.rtol, rules.atol)
        if metric:
            other.metrics = open_metrics(metric, names, samples.label_names)
    quantized = any(other.runtime.quantized for other in others)
    by_noise = float_rule_applies(rules, labelled=bool(metric), quantized=quantized)
    probe = Probe() if by_noise else None
    count = 0
    for batch in samples.batches(options.batch_size):
        expected = run_padded(first, batch.feed)
        _refuse_nan(expected, batch, first)
        for one in metrics_of_reference:
            one.update(expected, batch.labels, batch.indices)
        for other in others:
            errors = other.update(expected, batch)
            if probe:
                probe.add(batch.feed, batch.indices, errors)
        count += len(batch)
        run.tell("comparing", count, samples.num_samples)
    masks = {name: one.mask for other in others for name, one in other.parity.items()}
    noise = measure_noise(first, probe.samples(), masks=masks) if probe else None
    outputs = tuple(_with_noise(output, noise) for other in others for output in other.results())
    metrics = compare_metrics(metrics_of_reference, others, rules.allowed, count, run.seed)
    passed, reason = judge(outputs, metrics, rules, quantized=quantized)
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
        notes=(*samples.notes, *masked, *informing),
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
            _refuse_nan(outputs, batch, runtime)
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


def _refuse_nan(outputs: Mapping[str, Array], batch: Batch, runtime: Runtime) -> None:
    for name, values in outputs.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            row = int(np.isnan(values).reshape(len(values), -1).any(axis=1).argmax())
            raise ModelError(
                f"{runtime.name}: the output {name!r} is NaN at sample {batch.indices[row]}; "
                "look for NaN in its weights, or for values that it cannot take"
            )
