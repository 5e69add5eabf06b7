"""Run a model over held-out samples and write down what they look like."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError
from runtimes.metrics.metric import Metric, open_metric
from runtimes.metrics.names import METRIC_NAMES
from runtimes.monitor.binning import Binning, whole_units
from runtimes.monitor.layout import GROUPS, Block, Group, ServedMetric
from runtimes.monitor.probe import Probe
from runtimes.monitor.reference import Reference
from runtimes.monitor.seen import Seen
from runtimes.monitor.survey import survey
from runtimes.onnx_files.load_save import load_model
from runtimes.onnx_graph.lookups import looked_up_inputs
from runtimes.parity.choose_metric import Judged, choose_metrics
from runtimes.parity.judged_by import fitting_batch
from runtimes.parity.output_kind import AxisAccumulator, kind_of

SURVEYED = 2048
"""Samples at which edges are chosen; all samples are counted."""

_MOST_SAMPLES = 20_000
_BATCH = 32


def make_reference(
    model: str | os.PathLike[str] | Runtime,
    fp32: str | os.PathLike[str] | None,
    data: Any,
    *,
    seed: int = 0,
    layout: tuple[Block, ...] | None = None,
    metric: str | None = None,
) -> Reference:
    """What ``model`` sees and answers on held-out samples, next to ``fp32``.

    Args:
        model: The ONNX file that serves, or what has it open; of that, saturation is not told.
        fp32: The ONNX file that it was made from; None: no shadow.
        data: What ``Dataset.open`` takes. Neither calibration nor training may have seen it.
        seed: Chooses the samples, where there are more than 20,000, and those of the survey.
        layout: That of another reference, whose counts these shall add to; None: chosen here.
        metric: The metric that labels judge by; None: what they mean, if they mean one.

    Returns:
        The reference.

    Raises:
        DataError: The data do not fit the model, or hold no samples.
        ModelError: A file is no model.
        RuntimeUnavailable: ONNX Runtime is not installed.

    Example:
        >>> reference = make_reference("model.onnx", None, "samples.npz")
        >>> Reference.from_json(reference.to_json()) == reference
        True
    """
    with ExitStack() as stack:
        probe = stack.enter_context(Probe(model))
        original = None
        if fp32 is not None:
            original = stack.enter_context(open_runtime(fp32, threads=1, config=NO_SPINNING))
        samples = Dataset.open(data, inputs=probe.inputs).sampled(_MOST_SAMPLES, seed)
        runs = _Runs(probe, original)
        if layout is None:
            layout = _surveyed(runs, samples.sampled(SURVEYED, seed), model)
        return _counted(runs, samples, layout, metric)


class _Runs:
    """Both models over the batches of a dataset."""

    def __init__(self, probe: Probe, original: Runtime | None) -> None:
        self.probe, self.original = probe, original
        self.batch = _BATCH if original is None else fitting_batch(original, _BATCH)
        for spec in probe.inputs:
            if spec.shape and isinstance(spec.shape[0], int):
                self.batch = min(self.batch, spec.shape[0])

    def over(self, samples: Dataset) -> Iterator[tuple[Seen, Mapping[str, Array], Array]]:
        """What is seen of each batch, its labels and the positions of its samples."""
        for batch in samples.batches(self.batch):
            probed = self.probe.run(batch.feed)
            expected = None if self.original is None else run_padded(self.original, batch.feed)
            yield (
                Seen(batch.feed, probed.outputs, probed.ends, expected),
                batch.labels,
                batch.indices,
            )


def _surveyed(
    runs: _Runs, samples: Dataset, model: str | os.PathLike[str] | Runtime
) -> tuple[Block, ...]:
    seen = [one for one, _, _ in runs.over(samples)]
    rank = {name: array.ndim for name, array in seen[0].inputs.items()}
    alike = [one for one in seen if all(one.inputs[n].ndim == r for n, r in rank.items())]
    looked_up: frozenset[str] = frozenset()
    if not isinstance(model, Runtime):
        looked_up = looked_up_inputs(load_model(model))
    return survey(
        alike,
        looked_up,
        frozenset(_class_outputs(alike)),
        runs.probe.activations,
    )


def _class_outputs(seen: list[Seen]) -> Iterator[str]:
    """The outputs along whose last axis classes compete, judged by fp32 where it is there."""
    first = seen[0].fp32 or seen[0].outputs or {}
    for name, array in first.items():
        if array.dtype.kind != "f" or array.ndim < 2:
            continue
        axis = AxisAccumulator(array.ndim - 1)
        for one in seen:
            values = ((one.fp32 or one.outputs or {})[name]).astype(np.float64)
            axis.update(values, values, np.zeros_like(values))
        kind, chosen = kind_of([axis], array.ndim)
        if chosen is not None and kind in ("probabilities", "classes"):
            yield name


def _counted(
    runs: _Runs, samples: Dataset, layout: tuple[Block, ...], metric: str | None
) -> Reference:
    binnings = [Binning(block) for block in layout]
    counts = [np.zeros((len(block.names), block.bins), np.int64) for block in layout]
    groups: dict[Group, int] = dict.fromkeys(GROUPS, 0)
    judge = _Judge(runs, samples, metric)
    for seen, labels, indices in runs.over(samples):
        rows = len(indices)
        done: set[Group] = set()
        for place, binning in enumerate(binnings):
            array = seen.tensor(binning.block)
            if array is None:
                raise DataError(
                    f"the layout asks for {binning.block.names[0]!r}, which this model does not "
                    "have; take the layout of the same model, and give fp32= where it has shadow"
                )
            counts[place] += whole_units(binning.shares(array), binning.block.unit).sum(axis=0)
            done.add(binning.block.group)
        for group in done:
            groups[group] += rows
        judge.add(seen, labels, indices)
    return Reference(layout, tuple(counts), groups, judge.result())


class _Judge:
    """The metric over the reference's samples, if they have labels that mean one."""

    def __init__(self, runs: _Runs, samples: Dataset, name: str | None) -> None:
        self._metric: Metric | None = None
        outputs = [spec.name for spec in runs.probe.outputs]
        if not samples.label_names:
            return
        if name is None:
            try:
                name = next(iter(choose_metrics(_judged(runs, samples))), None)
            except DataError:  # labels that mean nothing known are no reason to have no reference
                return
        if name is not None and name.partition(":")[0] in METRIC_NAMES:
            self._metric = open_metric(name, outputs, samples.label_names)

    def add(self, seen: Seen, labels: Mapping[str, Array], indices: Array) -> None:
        if self._metric is not None and seen.outputs is not None:
            self._metric.update(seen.outputs, labels, indices)

    def result(self) -> ServedMetric | None:
        if self._metric is None:
            return None
        value = self._metric.value()
        if not np.isfinite(value):
            return None
        return ServedMetric(self._metric.name, value, self._metric.higher_is_better)


def _judged(runs: _Runs, samples: Dataset) -> Judged:
    def look(output: str) -> Array:
        seen = next(runs.over(samples.take(_BATCH)))[0]
        return np.asarray((seen.outputs or {})[output])

    return Judged(runs.probe.outputs, samples, look, {})
