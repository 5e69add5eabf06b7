"""What training is told beside samples: perturbations that will judge, and which outputs answer."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from runtimes.data.dataset import Dataset
from runtimes.metrics.metric import open_metrics
from runtimes.onnx_files.load_save import model_outputs
from runtimes.onnx_graph.lookups import looked_up_inputs
from runtimes.stress.rungs import Rung, rungs_for

_SEVERAL_CLASSES = frozenset({"top1", "top5"})


def rungs_like(
    judging: Sequence[Rung], reference: ir.Model, data: Dataset, seed: int
) -> list[Rung]:
    """The perturbations of ``judging``, drawn from the ``data`` that train instead."""
    names = {rung.name for rung in judging}
    kinds = rungs_for(data, looked_up_inputs(reference), seed).values()
    return [rung for kind in kinds for rung in kind if rung.name in names]


def classes_of(metric: str | None, reference: ir.Model, evaluation: Dataset) -> frozenset[str]:
    """Outputs of which only the largest value counts, by the metric."""
    if metric is None:
        return frozenset()
    names = [spec.name for spec in model_outputs(reference)]
    metrics = open_metrics(metric, names, evaluation.label_names)
    chosen = {one.output for one in metrics if one.name.partition(":")[0] in _SEVERAL_CLASSES}
    return frozenset(names if None in chosen else [name for name in chosen if name])
