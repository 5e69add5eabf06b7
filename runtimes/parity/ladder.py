"""Which perturbations does a model bear? The rungs on which others are held against it.

A model that fails by itself under a perturbation says nothing of a candidate. Of each kind, the
harshest strength is taken at which the reference loses little of what it does on clean samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from runtimes.data.dataset import Dataset
from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.errors import KilnxError
from runtimes.keras_models.signature import LiveModel
from runtimes.metrics.metric import CLASS_METRICS, Metric, drop, open_metrics
from runtimes.onnx_files.load_save import load_model
from runtimes.onnx_graph.lookups import looked_up_inputs
from runtimes.parity.judged_by import sample_bytes
from runtimes.parity.kept_outputs import KeptOutputs
from runtimes.parity.output_error import OutputParity, ParityAccumulator
from runtimes.parity.verdict import that_agree, unlabelled
from runtimes.progress import Progress, silent
from runtimes.stress.rungs import Rung, rungs_for

MOST_SAMPLES = 512
"""Samples that are perturbed, at most: every rung costs as many runs of each model."""
# Fewer, down to so many, where samples are large and so are the models that take them.
_FEW_SAMPLES, _MOST_BYTES = 128, 64 * 2**20

# What the reference may lose: of a metric of 0 to 1, of any other as a share, without labels.
_LOSS, _SHARE, _AGREEMENT, _DECIBELS = 0.02, 0.1, 0.98, 10.0
# Where so many samples lose so many times of that, the others are not looked at.
_FIRST_LOOK, _HOPELESS = 96, 4.0
_OF_ONE = CLASS_METRICS | {"pearson", "r2"}
# What a sample that was not looked at has at best, where a metric is the mean over samples.
_AT_BEST = {
    **dict.fromkeys(("top1", "top5", "binary_accuracy", "binary_accuracy_logits", "ssim"), 1.0),
    **dict.fromkeys(("mae", "mse"), 0.0),
}
# What an output is, answers or values, is seen in so many samples.
_TELLING = 16


@dataclass(frozen=True)
class Ladder:
    """The rungs that a model bears, one of each kind, and why others were left out.

    ``outputs``: what the model gives on each, by the rung's name; ``samples``: how many are
    perturbed.
    """

    rungs: tuple[Rung, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    samples: int = 0
    outputs: Mapping[str, KeptOutputs] = field(default_factory=dict, compare=False, repr=False)


def measure_ladder(
    reference: Any,
    data: Any,
    metric: str | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    batch_size: int = 32,
    progress: Progress = silent,
) -> Ladder:
    """Find the harshest rung of each kind that ``reference`` bears on ``data``.

    With ``metric`` (names with commas between) it may lose 0.02, or a tenth of one that is no
    share; without, 98% of its answers have to stay, or 10 dB where an output has none.

    Args:
        reference: What ``open_runtime`` takes, or a runtime that is open.
        data: What ``Dataset.open`` takes; 512 samples of it at most are perturbed, fewer where
            they are large.
        metric: Metrics of labelled data that tell what is lost.
        seed: Seed of the perturbations.
        threads: Threads of a run.
        batch_size: Samples of a run, at most.
        progress: Told which rung is tried.
    """
    with borrow(reference, "cpu", threads=threads, config=NO_SPINNING) as runtime:
        samples = Dataset.open(data, inputs=runtime.inputs).sampled(_most(runtime), seed)
        clean = KeptOutputs(runtime, samples, batch_size)
        try:
            judge = _Loss(clean, metric)
        except KilnxError as error:  # too few samples of a class, say
            return Ladder((), (("every perturbation", str(error)),))
        rungs, left_out, outputs = [], [], {}
        for harsher in rungs_for(samples, _looked_up(runtime), seed).values():
            for rung in reversed(harsher):
                progress(f"{rung.name} on the reference")
                found = KeptOutputs(runtime, samples.changed(rung.on), batch_size)
                reason = judge.too_much(found)
                if reason is None:
                    rungs.append(rung)
                    outputs[rung.name] = found
                    break
                left_out.append((rung.name, reason))
        for found in outputs.values():
            found.later = reference
    return Ladder(tuple(rungs), tuple(left_out), judge.samples, outputs)


def _most(runtime: Runtime) -> int:
    """How many samples are perturbed."""
    fit = _MOST_BYTES // max(1, sample_bytes(runtime.inputs))
    return max(_FEW_SAMPLES, min(MOST_SAMPLES, fit))


def _looked_up(runtime: Runtime) -> frozenset[str] | None:
    """The inputs that index a table, as far as the model's graph can be read."""
    source = runtime.source
    if isinstance(source, LiveModel):
        return None
    return looked_up_inputs(source if isinstance(source, ir.Model) else load_model(source))


class _Loss:
    """What a model loses from clean to perturbed samples."""

    def __init__(self, clean: KeptOutputs, metric: str | None) -> None:
        self._clean, self._metric = clean, metric
        self._names = [spec.name for spec in clean.outputs]
        metrics = self._metrics()
        self.samples = 0
        for batch, outputs in clean.batches():
            for one in metrics:
                one.update(outputs, batch.labels, batch.indices)
            self.samples += len(batch)
        self._before = {one.name: one.value() for one in metrics}  # raises where there is none

    def _metrics(self) -> tuple[Metric, ...]:
        if self._metric is None:
            return ()
        return open_metrics(self._metric, self._names, self._clean.data.label_names)

    def too_much(self, perturbed: KeptOutputs) -> str | None:
        """Why the model does not bear these samples; None where it does."""
        parity = {name: ParityAccumulator(name, "cpu") for name in self._names}
        metrics = list(zip(self._metrics(), self._metrics(), strict=True))
        seen = 0
        try:
            pairs = zip(self._clean.batches(), perturbed.batches(), strict=True)
            for (batch, clean), (_, found) in pairs:
                for name, accumulator in parity.items():
                    accumulator.update(clean[name], found[name], batch.indices)
                for before, after in metrics:
                    before.update(clean, batch.labels, batch.indices)
                    after.update(found, batch.labels, batch.indices)
                first = seen < _FIRST_LOOK <= seen + len(batch)
                seen += len(batch)
                if reason := self._lost_already(parity, metrics, seen):
                    return reason
                if first and (reason := self._hopeless(parity, metrics)):
                    return reason
            return self._lost(parity, metrics, 1.0)
        except KilnxError as error:
            return str(error)

    def _lost_already(
        self,
        parity: Mapping[str, ParityAccumulator],
        metrics: Sequence[tuple[Metric, Metric]],
        seen: int,
    ) -> str | None:
        """What is too much of a loss after ``seen`` samples, however well the others do."""
        rest = self.samples - seen
        for _, after in metrics:
            old, scores = self._before[after.name], after.scores()
            best = _AT_BEST.get(after.name.partition(":")[0])
            if best is None or scores is None:
                continue
            new = (float(scores.sum()) + rest * best) / self.samples
            if drop(old, new, higher_is_better=after.higher_is_better) > _allowed(after, old):
                return (
                    f"the reference {_goes(after)} from {after.name} {old:.4g} to {new:.4g} at best"
                )
        if seen < _TELLING:
            return None
        for result in self._answering(parity, metrics):
            assert result.agreement is not None
            kept = (result.agreement * seen + rest) / self.samples
            if kept < _AGREEMENT:
                return f"the reference keeps {kept:.1%} of its answers at best"
        return None

    def _answering(
        self,
        parity: Mapping[str, ParityAccumulator],
        metrics: Sequence[tuple[Metric, Metric]],
    ) -> list[OutputParity]:
        """The outputs that no metric judges and whose answers count."""
        results = [one.result() for one in parity.values()]
        judged = unlabelled(self._names, [one.output for one, _ in metrics])
        return [
            one
            for one in that_agree(results)
            if one.agreement is not None
            and one.kind != "detections"
            and (not metrics or one.output in judged)
        ]

    def _hopeless(
        self,
        parity: Mapping[str, ParityAccumulator],
        metrics: Sequence[tuple[Metric, Metric]],
    ) -> str | None:
        try:
            return self._lost(parity, metrics, _HOPELESS)
        except KilnxError:  # the first samples may lack a class that a metric needs
            return None

    def _lost(
        self,
        parity: Mapping[str, ParityAccumulator],
        metrics: Sequence[tuple[Metric, Metric]],
        times: float,
    ) -> str | None:
        """What is lost beyond so many times what may be."""
        results = [one.result() for one in parity.values()]
        for result in results:
            if result.problem:
                return f"the reference breaks: {result.output}: {result.problem}"
        for before, after in metrics:
            old, new = before.value(), after.value()
            allowed = times * _allowed(before, old)
            if not drop(old, new, higher_is_better=before.higher_is_better) <= allowed:
                return f"the reference {_goes(before)} from {before.name} {old:.4g} to {new:.4g}"
        judged = unlabelled(self._names, [one.output for one, _ in metrics])
        counting = that_agree(results)
        for result in results:
            if metrics and result.output not in judged:
                continue
            if result in counting and result.agreement is not None:
                if result.agreement < 1 - times * (1 - _AGREEMENT):
                    return f"the reference keeps {result.agreement:.1%} of its answers"
            elif result.sqnr_db is not None and result.sqnr_db < _DECIBELS / times:
                return f"{result.output} of the reference is {result.sqnr_db:.1f} dB from clean"
        return None


def _goes(metric: Metric) -> str:
    """What a metric does that becomes worse."""
    return "falls" if metric.higher_is_better else "rises"


def _allowed(metric: Metric, value: float) -> float:
    """What a metric with that value may lose."""
    return _LOSS if metric.name.partition(":")[0] in _OF_ONE else _SHARE * abs(value)
