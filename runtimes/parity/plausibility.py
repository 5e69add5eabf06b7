"""What speaks against data before a budget is judged on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.metrics.metric import METRIC_NAMES, open_metric
from runtimes.metrics.plausibility import doubt_of_baseline, doubt_of_labels

_BATCH = 256


def doubts(
    outputs: Sequence[TensorSpec], evaluation: Dataset, metric: str, value: float | None = None
) -> tuple[str, ...]:
    """Sentences on labels that are no labels, and on a model that a constant answer beats.

    ``metric`` may name its output, as for ``open_metric``, whose errors are raised. ``value``: what
    the model reaches before anything is changed; without it only the labels are looked at. A
    function of the user's is taken at its word.
    """
    base = metric.partition(":")[0]
    if base not in METRIC_NAMES:
        return ()
    names = [output.name for output in outputs]
    judged = open_metric(metric, names, evaluation.label_names).output
    shape = next(output.shape for output in outputs if output.name == judged)
    last = shape[-1] if shape else None
    classes = last if isinstance(last, int) and last > 1 else None
    labels = _labels(evaluation, judged if judged in evaluation.label_names else "")
    found = [doubt_of_labels(base, labels, classes)]
    if value is not None and found == [None]:
        found.append(doubt_of_baseline(base, value, labels, classes))
    return tuple(text for text in found if text is not None)


def _labels(evaluation: Dataset, name: str | None) -> Array:
    """All labels of one output; samples of several shapes keep what they have in common."""
    pieces = [batch.labels[name or ""] for batch in evaluation.batches(_BATCH)]
    shapes = {piece.shape[1:] for piece in pieces}
    if len(shapes) > 1:
        pieces = [piece.reshape(-1) for piece in pieces]
    return np.concatenate(pieces)
