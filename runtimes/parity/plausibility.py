"""What speaks against data before a budget is judged on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.metrics.metric import METRIC_NAMES, open_metric
from runtimes.metrics.plausibility import doubt_of_baseline, doubt_of_labels

_BATCH = 256


@dataclass(frozen=True)
class JudgedLabels:
    """All labels of the output that a metric judges.

    Attributes:
        metric: Its name, without the output.
        labels: [samples, …]; none where there is no metric, or it is a function of the user's,
            which is taken at its word.
        classes: Size of the output's last axis, where that is known and more than one.
    """

    metric: str
    labels: Array
    classes: int | None

    def doubts(self, value: float | None = None) -> tuple[str, ...]:
        """Sentences on labels that are no labels, and on a model that a constant answer beats.

        ``value``: what the model reaches before anything is changed; without it only the labels
        are looked at.
        """
        found = [doubt_of_labels(self.metric, self.labels, self.classes)]
        if value is not None and found == [None]:
            found.append(doubt_of_baseline(self.metric, value, self.labels, self.classes))
        return tuple(text for text in found if text is not None)


def judged_labels(
    outputs: Sequence[TensorSpec], evaluation: Dataset | None, metric: str | None
) -> JudgedLabels:
    """Read the labels that ``metric`` judges by.

    It may name its output, as for ``open_metric``, whose errors are raised.
    """
    base = (metric or "").partition(":")[0]
    if metric is None or evaluation is None or base not in METRIC_NAMES:
        return JudgedLabels(base, np.empty(0), None)
    names = [output.name for output in outputs]
    judged = open_metric(metric, names, evaluation.label_names).output
    shape = next(output.shape for output in outputs if output.name == judged)
    last = shape[-1] if shape else None
    classes = last if isinstance(last, int) and last > 1 else None
    labels = _labels(evaluation, judged if judged in evaluation.label_names else "")
    return JudgedLabels(base, labels, classes)


def _labels(evaluation: Dataset, name: str | None) -> Array:
    """All labels of one output; samples of several shapes keep what they have in common."""
    pieces = [batch.labels[name or ""] for batch in evaluation.batches(_BATCH)]
    shapes = {piece.shape[1:] for piece in pieces}
    if len(shapes) > 1:
        pieces = [piece.reshape(-1) for piece in pieces]
    return np.concatenate(pieces)
