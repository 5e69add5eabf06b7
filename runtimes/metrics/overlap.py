"""How classes overlap: IoU and F1, counted over all elements of all samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.metrics.pooled import PooledMetric
from runtimes.metrics.scores import binary_labels, class_indices, classes_last

Ratio = Callable[[Array, Array, Array], Array]
"""Of true positives, false positives and false negatives by class: a value for each class."""


def intersection_over_union(tp: Array, fp: Array, fn: Array) -> Array:
    """The Jaccard index of each class; NaN for a class that is nowhere."""
    return _ratio(tp, tp + fp + fn)


def f1_score(tp: Array, fp: Array, fn: Array) -> Array:
    """The harmonic mean of precision and recall of each class, which is Dice's coefficient too."""
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _ratio(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), math.nan), where=whole > 0))


class Overlap(PooledMetric):
    """The ratio of the positive class, or the mean over the classes that occur.

    An output without classes holds probabilities, or logits where ``threshold`` is 0. With two
    classes the last one is positive. Keeps three counts a sample and class.
    """

    undefined = "no class occurs, neither in the labels nor in the output"

    def __init__(  # noqa: PLR0917
        self, name: str, output: str, label: str, ratio: Ratio, mean: bool, threshold: float = 0.5
    ) -> None:
        super().__init__(name, output, label)
        self._ratio, self._mean, self._threshold = ratio, mean, threshold
        self._is_probability = threshold > 0

    def kept(self, output: Array, label: Array, indices: Array) -> Array:
        """Counts of true positives, false positives and false negatives, [samples, 3, classes]."""
        said, true, classes = self._classes(output, label, indices)
        counts = np.zeros((len(output), 3, classes))
        for one in range(classes):
            is_said, is_true = said == one, true == one
            parts = (is_said & is_true, is_said & ~is_true, ~is_said & is_true)
            counts[:, :, one] = np.stack([part.sum(axis=1) for part in parts], axis=1)
        return counts

    def of(self, kept: Array) -> float:
        """The ratio over all samples."""
        by_class = self._ratio(*kept.sum(axis=0))
        if not self._mean and len(by_class) == 2:
            return float(by_class[1])
        found = by_class[~np.isnan(by_class)]
        return float(found.mean()) if len(found) else math.nan

    def _classes(self, output: Array, label: Array, indices: Array) -> tuple[Array, Array, int]:
        """What is said and what is true, [samples, elements], and how many classes there are."""
        count = len(output)
        output, label = classes_last(output, label)
        if output.ndim >= 2 and output.shape[-1] >= 2 and _has_classes(output, label):
            true = class_indices(output, label, indices).reshape(count, -1)
            return np.argmax(output, axis=-1).reshape(count, -1), true, output.shape[-1]
        return self._binary(output, label, indices)

    def _binary(self, output: Array, label: Array, indices: Array) -> tuple[Array, Array, int]:
        count = len(output)
        if self._is_probability and output.size and (output.min() < 0 or output.max() > 1):
            base, _, rest = self.name.partition(":")
            raise DataError(
                f"{self.name} takes probabilities, and the output holds values outside 0 to 1; "
                f"for logits use {base}_logits{':' * bool(rest)}{rest}"
            )
        true = binary_labels(output, label, indices).reshape(count, -1)
        return (output > self._threshold).reshape(count, -1).astype(int), true.astype(int), 2


def _has_classes(output: Array, label: Array) -> bool:
    """Whether the last axis holds classes: labels are indices, or one-hot along it."""
    if label.shape != output.shape:
        return True
    return bool((np.abs(label.astype(np.float64).sum(axis=-1) - 1) < 1e-3).all())


OVERLAPS: dict[str, Callable[[str, str, str], Overlap]] = {
    "iou": partial(Overlap, ratio=intersection_over_union, mean=False),
    "iou_logits": partial(Overlap, ratio=intersection_over_union, mean=False, threshold=0.0),
    "mean_iou": partial(Overlap, ratio=intersection_over_union, mean=True),
    "mean_iou_logits": partial(Overlap, ratio=intersection_over_union, mean=True, threshold=0.0),
    "f1": partial(Overlap, ratio=f1_score, mean=False),
    "f1_logits": partial(Overlap, ratio=f1_score, mean=False, threshold=0.0),
}
