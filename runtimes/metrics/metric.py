"""Metrics on labelled data, accumulated batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.metrics.confidence import (
    Uncertainty,
    paired_means,
    paired_proportions,
    paired_statistic,
)
from runtimes.metrics.detection import MeanAveragePrecision
from runtimes.metrics.determination import Determination, RootMeanSquare
from runtimes.metrics.functions import FunctionMetric, load_function
from runtimes.metrics.images import peak_signal_to_noise, structural_similarity
from runtimes.metrics.labelled_output import labelled_output, no_labels
from runtimes.metrics.names import ACCURACY, METRIC_NAMES, canonical
from runtimes.metrics.overlap import OVERLAPS
from runtimes.metrics.pooled import PooledMetric, joined_pieces
from runtimes.metrics.scores import (
    absolute_error,
    binary_correct,
    binary_correct_logits,
    positive_scores,
    product_sums,
    squared_error,
    top1_correct,
    top5_correct,
)

_RESAMPLES = 400  # of metrics that are no means

Score = Callable[[Array, Array, Array], Array]
"""Of a batch's output, labels and sample indices: a float64 for each sample."""


class Metric(Protocol):
    """A metric being accumulated over the batches of one model."""

    name: str
    higher_is_better: bool

    @property
    def output(self) -> str | None:
        """The output that it judges; None: all of them."""
        ...

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        """Add a batch; ``indices`` are the samples' positions, for messages."""
        ...

    def state(self) -> dict[str, Any]:
        """What was kept so far, a tree of plain values and arrays, for ``absorb``."""
        ...

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Add the batches that the ``state`` of another one is of, which come later."""
        ...

    def value(self) -> float:
        """The metric over all samples so far."""
        ...

    def scores(self) -> Array | None:
        """What each sample has by itself, where the metric is the mean of that."""
        ...

    def resampled(self, places: Array) -> float:
        """The metric over the samples at ``places``; NaN where it has none."""
        ...


_MEANS: Mapping[str, tuple[Score, bool]] = {
    "top1": (top1_correct, True),
    "top5": (top5_correct, True),
    "binary_accuracy": (binary_correct, True),
    "binary_accuracy_logits": (binary_correct_logits, True),
    "mae": (absolute_error, False),
    "mse": (squared_error, False),
    "psnr": (peak_signal_to_noise, True),
    "ssim": (structural_similarity, True),
}


def open_metric(name: str, outputs: Sequence[str], labels: Sequence[str]) -> Metric:
    """Start a metric on the output that has labels.

    ``name``: ``top1``, ``top5``, ``binary_accuracy`` (a probability against 0.5),
    ``binary_accuracy_logits`` (a logit against 0), ``auc``, ``pearson`` (correlation), ``r2``,
    ``mae``, ``mse``, ``rmse``, ``f1``, ``iou``, ``mean_iou`` (these three for logits with
    ``_logits`` behind), ``psnr``, ``ssim``, ``map50``, or what else they are called
    (``names.ALIASES``), each optionally with ``:<output>``; or ``package.module:function``, a
    function of all outputs and labels (dicts of arrays, or the arrays where there is only one)
    that gives a float, in scikit-learn's order where its first parameter is ``y_true`` or the
    like. Whether more of it is better, ``higher_is_better`` finds out. For
    it alone all outputs are kept in memory. ``outputs`` and ``labels`` are the names of the
    model's outputs and of the labels. Raises ``DataError`` for an unknown name and where no
    labels, or too many, fit.
    """
    name = canonical(name)
    if name.partition(":")[0] == ACCURACY:  # whoever knows the output has chosen already
        name = name.replace(ACCURACY, "top1", 1)
    base, _, rest = name.partition(":")
    if base not in METRIC_NAMES:
        function = load_function(name)
        if not labels:
            raise no_labels(name)
        return FunctionMetric(name, function)
    output, key = labelled_output(name, rest, outputs, labels)
    if base in _POOLED:
        return _POOLED[base](name, output, key)
    score, higher_is_better = _MEANS[base]
    return _MeanMetric(name, higher_is_better, score, output, key)


CLASS_METRICS = frozenset(
    ("top1", "top5", "binary_accuracy", "binary_accuracy_logits", "auc", ACCURACY, *OVERLAPS)
)
"""Metrics for which noise costs nothing as long as the answers stay."""


def open_metrics(names: str, outputs: Sequence[str], labels: Sequence[str]) -> tuple[Metric, ...]:
    """Start every metric of ``names``, which have commas between, as ``open_metric`` does.

    Raises ``DataError`` for two metrics of one output: only one can be the budget of it.
    """
    metrics = tuple(open_metric(name.strip(), outputs, labels) for name in names.split(","))
    for place, metric in enumerate(metrics):
        for other in metrics[:place]:
            if metric.output == other.output or None in {metric.output, other.output}:
                where = f"the output {metric.output or other.output!r}"
                if metric.output is None and other.output is None:
                    where = "all outputs"
                raise DataError(
                    f"{other.name!r} and {metric.name!r} both judge {where}; a budget is of one "
                    "metric for each output, so check the other one in a run of its own"
                )
    return metrics


def drop(reference: float, candidate: float, *, higher_is_better: bool) -> float:
    """How much worse the candidate is; negative where it is better."""
    return reference - candidate if higher_is_better else candidate - reference


def drop_uncertainty(
    reference: Metric, candidate: Metric, samples: int, seed: int = 0
) -> Uncertainty | None:
    """The interval of the drop from ``reference`` to ``candidate``, over the same samples.

    None for a single sample, and where a metric has no value on most resamples.
    """
    if samples < 2:
        return None
    first, second = reference.scores(), candidate.scores()
    if first is not None and second is not None:
        if reference.name.partition(":")[0] in CLASS_METRICS and _right_or_wrong(first, second):
            if reference.higher_is_better:
                return paired_proportions(first, second)
            return paired_proportions(second, first)
        return paired_means(first - second if reference.higher_is_better else second - first, seed)

    def lost(places: Array) -> float:
        return drop(
            reference.resampled(places),
            candidate.resampled(places),
            higher_is_better=reference.higher_is_better,
        )

    return paired_statistic(lost, samples, _RESAMPLES, seed)


def _right_or_wrong(*scores: Array) -> bool:
    """Whether every sample is wholly right or wrong; with several answers each it may be partly."""
    return all(bool(np.isin(one, (0, 1)).all()) for one in scores)


class _MeanMetric:
    """The mean of a score that each sample has by itself."""

    def __init__(
        self, name: str, higher_is_better: bool, score: Score, output: str, label: str
    ) -> None:
        self.name, self.higher_is_better = name, higher_is_better
        self._score, self.output, self._label = score, output, label
        self._scores: list[Array] = []

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        self._scores.append(self._score(outputs[self.output], labels[self._label], indices))

    def state(self) -> dict[str, Any]:
        return {"scores": joined_pieces(self._scores)}

    def absorb(self, state: Mapping[str, Any]) -> None:
        self._scores += state["scores"]

    def value(self) -> float:
        return float(self.scores().mean())

    def scores(self) -> Array:
        return np.concatenate(self._scores)

    def resampled(self, places: Array) -> float:
        return float(self.scores()[places].mean())


class _AreaUnderCurve(PooledMetric):
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order.

    Equal scores count half (Mann-Whitney U). Keeps a score and a class for each sample.
    """

    undefined = "auc needs samples of both classes; all labels are the same"

    def kept(self, output: Array, label: Array, indices: Array) -> Array:
        return np.stack(positive_scores(output, label, indices), axis=1)

    def of(self, kept: Array) -> float:
        scores, positive = kept[:, 0], kept[:, 1].astype(bool)
        positives = int(positive.sum())
        negatives = len(positive) - positives
        if not positives or not negatives:
            return math.nan
        _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
        last = np.cumsum(count)
        ranks = (last - (count - 1) / 2)[place]  # equal scores share their mean rank
        u = ranks[positive].sum() - positives * (positives + 1) / 2
        return float(u / (positives * negatives))


class _Correlation(PooledMetric):
    """Pearson's correlation of all elements of the output with the labels'.

    Keeps five sums a sample.
    """

    undefined = "pearson needs values that vary; the output or the labels are constant"

    def kept(self, output: Array, label: Array, indices: Array) -> Array:
        return product_sums(output, label)

    def of(self, kept: Array) -> float:
        n, x, y, xx, yy, xy = kept.sum(axis=0)
        spread = (n * xx - x * x) * (n * yy - y * y)
        least = 1e-12 * (n * xx) * (n * yy)  # below that, differences are rounding
        return float((n * xy - x * y) / math.sqrt(spread)) if spread > least else math.nan


_POOLED: Mapping[str, Callable[[str, str, str], Metric]] = {
    "r2": Determination,
    "rmse": RootMeanSquare,
    "auc": _AreaUnderCurve,
    "pearson": _Correlation,
    "map50": MeanAveragePrecision,
    **OVERLAPS,
}
"""Metrics that are no means: each is made from its name, the output and the labels."""
