"""What speaks against data before a budget is judged on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.metrics.metric import Metric, open_metrics
from runtimes.metrics.names import METRIC_NAMES
from runtimes.metrics.plausibility import doubt_of_baseline, doubt_of_labels


@dataclass(frozen=True)
class JudgedLabels:
    """All labels of the output that a metric judges.

    Attributes:
        metric: Its name, without the output.
        labels: [samples, …]; none where there is no metric, or it is a function of the user's,
            which is taken at its word.
        classes: Size of the output's last axis, where that is known and more than one.
        others: The same of further metrics, where there are several.
    """

    metric: str
    labels: Array
    classes: int | None
    others: tuple[JudgedLabels, ...] = ()

    def doubts(self, value: float | None = None) -> tuple[str, ...]:
        """Sentences on labels that are no labels, and on a model that a constant answer beats.

        ``value``: what the model reaches before anything is changed; without it only the labels
        are looked at.
        """
        found = [doubt_of_labels(self.metric, self.labels, self.classes)]
        if value is not None and found == [None]:
            found.append(doubt_of_baseline(self.metric, value, self.labels, self.classes))
        mine = tuple(text for text in found if text is not None)
        return (*mine, *(text for other in self.others for text in other.doubts()))


def judged_labels(
    outputs: Sequence[TensorSpec], evaluation: Dataset | None, metric: str | None
) -> JudgedLabels:
    """Read the labels that ``metric`` judges by.

    It may name its output, as for ``open_metric``, whose errors are raised.
    """
    nothing = JudgedLabels((metric or "").partition(":")[0], np.empty(0), None)
    if metric is None or evaluation is None:
        return nothing
    names = [output.name for output in outputs]
    metrics = open_metrics(metric, names, evaluation.label_names)
    known = [one for one in metrics if one.name.partition(":")[0] in METRIC_NAMES]
    first, *others = [_judged(one, outputs, evaluation) for one in known] or [nothing]
    return replace(first, others=tuple(others))


def _judged(metric: Metric, outputs: Sequence[TensorSpec], evaluation: Dataset) -> JudgedLabels:
    judged = metric.output or ""
    shape = next(output.shape for output in outputs if output.name == judged)
    last = shape[-1] if shape else None
    classes = last if isinstance(last, int) and last > 1 else None
    labels = evaluation.all_labels(judged if judged in evaluation.label_names else "")
    return JudgedLabels(metric.name.partition(":")[0], labels, classes)
