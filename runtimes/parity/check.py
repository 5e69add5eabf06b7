"""Is the candidate still the same model as the reference?"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runtimes.base import Array, Runtime
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import fixed_batch, run_padded
from runtimes.engines.keras import KerasRuntime
from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING, PROVIDERS, Optimization
from runtimes.engines.placement import Placement
from runtimes.errors import DataError, ModelError
from runtimes.json_values import plain
from runtimes.metrics.confidence import samples_needed
from runtimes.metrics.metric import Metric, drop, drop_uncertainty, open_metric
from runtimes.parity.layers.report import LayersReport
from runtimes.parity.match_tensors import pair_specs
from runtimes.parity.output_error import OutputParity, ParityAccumulator
from runtimes.parity.rounding_noise import Noise, Probe, measure_noise
from runtimes.parity.verdict import (
    FAILED,
    PASSED,
    UNSURE,
    MetricParity,
    Rules,
    float_rule_applies,
    is_unsure,
    judge,
)

__all__ = ["MetricParity", "OutputParity", "ParityReport", "check", "evaluate"]

# What a model computes in between is many times its input: a batch holds no more than this.
_MOST_INPUT_BYTES = 4_000_000

Progress = Callable[[int, int | None], None]
"""Called with the number of samples done and of all, where that is known."""


@dataclass(frozen=True)
class ParityReport:
    """The verdict and what it rests on; ``layers`` where they were asked for.

    ``verdict`` is passed, failed, or that there are too few samples to tell: then ``passed`` goes
    by the drop as it was measured. ``placements``: where the candidate's nodes ran.
    """

    passed: bool
    reason: str
    reference: str
    candidate: str
    samples: int
    outputs: tuple[OutputParity, ...]
    metrics: tuple[MetricParity, ...]
    notes: tuple[str, ...]
    verdict: str = ""
    placements: tuple[Placement, ...] = ()
    layers: LayersReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types; a number that is not finite is null."""
        document: dict[str, Any] = plain(self)
        return document

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells an output and provider, for a table."""
        rows = []
        for output in self.outputs:
            agreement, sqnr = output.agreement, output.sqnr_db
            rows.append(
                {
                    "output": output.output,
                    "provider": output.provider,
                    "max error": f"{output.max_abs_error:.3g}",
                    "mean error": f"{output.mean_abs_error:.3g}",
                    "relative error": f"{output.max_relative_error:.3g}",
                    "SQNR": "–" if sqnr is None else f"{sqnr:.1f} dB",
                    "agreement": "–" if agreement is None else f"{agreement:.2%}",
                    "of own noise": _times(output),
                }
            )
        return rows


def check(
    reference: Any,
    candidate: Any,
    data: Any,
    *,
    metric: str | None = None,
    max_drop: float | None = None,
    providers: Sequence[str] = ("cpu",),
    rtol: float | None = None,
    atol: float | None = None,
    min_agreement: float | None = None,
    min_sqnr: float | None = None,
    batch_size: int = 32,
    threads: int | None = None,
    layers: bool = False,
    strict: bool = False,
    optimizations: Sequence[Optimization] = ("all",),
    allow_fallback: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> ParityReport:
    """Run both models on the same data and judge whether the candidate may stand for the other.

    ``reference`` and ``candidate`` are what ``open_runtime`` takes, or runtimes that are open;
    ``data`` is what ``Dataset.open`` takes; ``batch_size`` samples are run at a time, or as many as
    hold 4 MB of inputs. The candidate runs on each of ``providers``, and on
    ONNX Runtime's with each of ``optimizations`` (``disabled``, ``basic``, ``extended``, ``all``):
    every one against the reference. A node that runs elsewhere than asked is an error unless
    ``allow_fallback``.

    The first rule that applies decides: ``metric`` and ``max_drop`` (in the metric's unit; with
    ``strict`` the whole 95% interval of the drop must be inside, else the drop as measured), and
    for outputs without labels the floors of ``min_agreement`` and ``min_sqnr``, 99% and 20 dB;
    ``rtol``/``atol`` (each element within atol + rtol·|reference|); ``min_agreement`` (0…1)
    and ``min_sqnr`` (dB); else a float candidate may differ by 16 times the reference's own
    rounding error, which is measured in float64 on a few samples (``rounding_noise``), and a
    quantized one needs agreement ≥ 99% and SQNR ≥ 20 dB. NaN, infinity where the reference has
    none and other shapes or dtypes always fail. With ``layers`` the models are also walked in
    step, on the first of ``providers``, and the layer that departs is named
    (``runtimes.parity.layers``).
    Raises ``DataError`` for data that do not fit, and ``ModelError`` where the models have other
    inputs or outputs or the reference gives NaN.
    """
    if max_drop is not None and metric is None:
        raise DataError("max_drop is in the unit of a metric; say which one: --metric top1")
    if not providers:
        raise ValueError("providers must name at least one provider")
    rules = Rules(max_drop, rtol, atol, min_agreement, min_sqnr, strict)
    places = _places(providers, optimizations)
    with borrow(reference, "cpu", threads=threads, config=NO_SPINNING) as first:
        with _opened(candidate, places, threads, allow_fallback=allow_fallback) as others:
            matched = [note for other in others for note in other.match(first)]
            samples = Dataset.open(data, inputs=first.inputs)
            report = _compare(
                first, others, samples, metric, rules, batch_size, seed=seed, progress=progress
            )
        report = replace(report, notes=(*report.notes, *dict.fromkeys(matched)))
        if layers:  # the walk has sessions of its own, but a Keras model is not loaded again
            gc.collect()
            source = first if isinstance(first, KerasRuntime) else reference
            walked = _layers(source, candidate, samples, providers, threads)
            report = replace(report, layers=walked)
    return report


@contextmanager
def _opened(
    candidate: Any,
    places: Sequence[tuple[str, Optimization, str]],
    threads: int | None,
    *,
    allow_fallback: bool,
) -> Iterator[list[_Candidate]]:
    """The candidate at each of ``places``: provider, optimization level and label."""
    with ExitStack() as stack:
        others = []
        for provider, level, label in places:
            runtime = borrow(
                candidate,
                provider,
                threads=threads,
                config=NO_SPINNING,
                optimization=level,
                allow_fallback=allow_fallback,
            )
            others.append(_Candidate(label, stack.enter_context(runtime)))
        yield others


def _compare(  # noqa: PLR0917
    first: Runtime,
    others: Sequence[_Candidate],
    samples: Dataset,
    metric: str | None,
    rules: Rules,
    batch_size: int,
    *,
    seed: int,
    progress: Progress | None,
) -> ParityReport:
    """Run all on the same batches and judge what differs."""
    names = [spec.name for spec in first.outputs]
    reference_metric = open_metric(metric, names, samples.label_names) if metric else None
    for other in others:
        other.start(names, rules.rtol, rules.atol)
        if metric:
            other.metric = open_metric(metric, names, samples.label_names)
    quantized = any(other.runtime.quantized for other in others)
    by_noise = float_rule_applies(rules, labelled=metric is not None, quantized=quantized)
    probe = Probe() if by_noise else None
    size = min(_batch_size(r, batch_size) for r in (first, *(o.runtime for o in others)))
    count = 0
    for batch in samples.batches(size):
        expected = run_padded(first, batch.feed)
        _refuse_nan(expected, batch, first)
        if reference_metric:
            reference_metric.update(expected, batch.labels, batch.indices)
        for other in others:
            errors = other.update(expected, batch)
            if probe:
                probe.add(batch.feed, batch.indices, errors)
        count += len(batch)
        if progress:
            progress(count, samples.num_samples)
    noise = measure_noise(first, probe.samples()) if probe else None
    outputs = tuple(
        _with_noise(accumulator.result(), noise)
        for other in others
        for accumulator in other.parity.values()
    )
    metrics = _compare_metrics(reference_metric, others, rules.max_drop, count, seed)
    passed, reason = judge(outputs, metrics, rules, quantized=quantized)
    return ParityReport(
        passed=passed,
        reason=reason,
        reference=first.name,
        candidate=others[0].runtime.name,
        samples=count,
        outputs=outputs,
        metrics=metrics,
        notes=samples.notes,
        placements=tuple(
            placement
            for other in others
            if (placement := getattr(other.runtime, "placement", None)) is not None
        ),
        verdict=_verdict(passed, metrics, rules),
    )


def evaluate(
    model: Any,
    data: Any,
    metric: str,
    *,
    provider: str = "cpu",
    batch_size: int = 32,
    threads: int | None = None,
    progress: Progress | None = None,
) -> float:
    """The labelled ``metric`` of ``model`` (or an open runtime) over ``data``.

    Raises ``DataError`` for data without fitting labels and ``ModelError`` where an output is NaN.
    """
    with borrow(model, provider, threads=threads, config=NO_SPINNING) as runtime:
        samples = Dataset.open(data, inputs=runtime.inputs)
        names = [spec.name for spec in runtime.outputs]
        state = open_metric(metric, names, samples.label_names)
        count = 0
        for batch in samples.batches(_batch_size(runtime, batch_size)):
            outputs = run_padded(runtime, batch.feed)
            _refuse_nan(outputs, batch, runtime)
            state.update(outputs, batch.labels, batch.indices)
            count += len(batch)
            if progress:
                progress(count, samples.num_samples)
        return state.value()


class _Candidate:
    """The candidate on one provider, and what has been found about it."""

    def __init__(self, provider: str, runtime: Runtime) -> None:
        self.provider = provider
        self.runtime = runtime
        self.parity: dict[str, ParityAccumulator] = {}
        self.metric: Metric | None = None
        self._inputs: Mapping[str, str] = {}
        self._outputs: Mapping[str, str] = {}

    def match(self, reference: Runtime) -> Iterator[str]:
        """Pair inputs and outputs with the reference's; yields what the user should know."""
        for kind, wanted, found in (
            ("input", reference.inputs, self.runtime.inputs),
            ("output", reference.outputs, self.runtime.outputs),
        ):
            pairs = pair_specs(kind, wanted, found, reference.name, self.runtime.name)
            if kind == "input":
                self._inputs = pairs
            else:
                self._outputs = pairs
            if any(ours != theirs for ours, theirs in pairs.items()):
                yield f"{kind}s matched by position: " + ", ".join(
                    f"{ours!r} is {theirs!r}" for ours, theirs in pairs.items() if ours != theirs
                )
            surplus = [spec.name for spec in found if spec.name not in pairs.values()]
            if surplus:
                yield f"{kind}s of the candidate that the reference lacks: {', '.join(surplus)}"

    def start(self, outputs: Sequence[str], rtol: float | None, atol: float | None) -> None:
        self.parity = {
            name: ParityAccumulator(name, self.provider, rtol=rtol, atol=atol) for name in outputs
        }

    def update(self, expected: Mapping[str, Array], batch: Batch) -> dict[str, Array | None]:
        feed = {self._inputs[name]: values for name, values in batch.feed.items()}
        raw = run_padded(self.runtime, feed, list(self._outputs.values()))
        found = {ours: raw[theirs] for ours, theirs in self._outputs.items()}
        errors = {
            name: accumulator.update(expected[name], found[name], batch.indices)
            for name, accumulator in self.parity.items()
        }
        # A metric of outputs that cannot be compared means nothing; the verdict names them.
        comparable = not any(one.problem for one in self.parity.values())
        if self.metric and comparable:
            self.metric.update(found, batch.labels, batch.indices)
        return errors


def _times(output: OutputParity) -> str:
    if output.noise is None or output.problem:
        return "–"
    return f"{output.max_abs_error / output.noise if output.noise else 0.0:.2g}×"


def _places(
    providers: Sequence[str], optimizations: Sequence[Optimization]
) -> list[tuple[str, Optimization, str]]:
    """Provider, optimization level and label of each column of the matrix."""
    if not optimizations:
        raise ValueError("optimizations must name at least one level")
    places: list[tuple[str, Optimization, str]] = []
    for provider in providers:
        if provider not in PROVIDERS:  # the others have no levels
            places.append((provider, "all", provider))
            continue
        for level in optimizations:
            label = provider if len(optimizations) == 1 else f"{provider}, {level}"
            places.append((provider, level, label))
    return places


def _layers(
    reference: Any, candidate: Any, data: Dataset, providers: Sequence[str], threads: int | None
) -> LayersReport:
    from runtimes.parity.layers.compare_layers import compare_layers

    return compare_layers(reference, candidate, data, provider=providers[0], threads=threads)


def _with_noise(output: OutputParity, noise: Noise | None) -> OutputParity:
    if noise is None or output.output not in noise.errors:
        return output
    return replace(output, noise=noise.errors[output.output], noise_method=noise.method)


def _compare_metrics(
    reference: Metric | None,
    others: Sequence[_Candidate],
    allowed: float | None,
    samples: int,
    seed: int,
) -> tuple[MetricParity, ...]:
    if reference is None:
        return ()
    value = reference.value()
    metrics = []
    for other in others:
        comparable = not any(one.problem for one in other.parity.values())
        if other.metric is None or not comparable:
            continue
        found = other.metric.value()
        lost = drop(value, found, higher_is_better=reference.higher_is_better)
        parity = MetricParity(
            reference.name, other.provider, value, found, lost, samples, output=reference.output
        )
        sure = drop_uncertainty(reference, other.metric, samples, seed)
        if sure is not None:
            needed = None
            if allowed is not None:
                needed = samples_needed(lost, sure.low, sure.high, allowed, samples)
            parity = replace(
                parity,
                low=sure.low,
                high=sure.high,
                method=sure.method,
                p_value=sure.p_value,
                needed=needed,
            )
        metrics.append(parity)
    return tuple(metrics)


def _verdict(passed: bool, metrics: Sequence[MetricParity], rules: Rules) -> str:
    allowed = rules.max_drop
    if allowed is not None and any(is_unsure(metric, allowed) for metric in metrics):
        return UNSURE
    return PASSED if passed else FAILED


def _batch_size(runtime: Runtime, wanted: int) -> int:
    """What the model insists on, else ``wanted``, or fewer where samples are large."""
    fixed = fixed_batch(runtime.inputs, runtime.name)
    if fixed is not None:
        return min(wanted, fixed)
    sample = sum(
        spec.dtype.itemsize * math.prod(dim for dim in spec.shape[1:] if isinstance(dim, int))
        for spec in runtime.inputs
        if spec.shape is not None
    )
    return max(1, min(wanted, _MOST_INPUT_BYTES // max(1, sample)))


def _refuse_nan(outputs: Mapping[str, Array], batch: Batch, runtime: Runtime) -> None:
    for name, values in outputs.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            row = int(np.isnan(values).reshape(len(values), -1).any(axis=1).argmax())
            raise ModelError(
                f"{runtime.name}: the output {name!r} is NaN at sample {batch.indices[row]}; "
                "look for NaN in its weights, or for values that it cannot take"
            )
