"""Labels that are no labels, and a model that knows no more than a constant answer.

Both mean that a budget in this metric would judge nothing: to be said before anything is changed.
"""

from __future__ import annotations

import math

import numpy as np

from runtimes.base import Array

_CLASSES = ("top1", "top5")
_ERRORS = ("mae", "mse")
# Standard errors by which a model has to be below a constant answer before that is said.
_SIGNIFICANT = 3.0


def doubt_of_labels(metric: str, labels: Array, classes: int | None) -> str | None:
    """Why ``labels`` cannot be those of a classifier with ``classes`` classes; None if they can.

    ``labels``: [samples] class indices, or [samples, classes] as one-hot rows or probabilities.
    ``metric``: its name, without the output. Other metrics than those of classes have no doubt.
    """
    if metric not in _CLASSES or not len(labels):
        return None
    if labels.ndim == 2 and labels.shape[1] > 1:
        empty = (labels == labels[:, :1]).all(axis=1)
        if empty.any():
            return (
                f"{int(empty.sum())} of {len(labels)} rows of labels hold one value only (sample "
                f"{int(empty.argmax())} is the first), so they name no class; give class indices, "
                "or one-hot rows"
            )
        return None
    if labels.dtype.kind == "b" and classes is not None and classes > 2:
        return (
            f"the labels are booleans, and the output has {classes} classes; give each sample "
            "the index of its class"
        )
    return None


def doubt_of_baseline(metric: str, value: float, labels: Array, classes: int | None) -> str | None:
    """Why the model may not fit these data: it does no better than the best constant answer.

    ``value``: the metric of the model that nothing was done to yet. None where it does better, or
    the samples are too few to tell, and for metrics of the user's own. Samples on another scale
    than those of the training, or labels in another order, look like this.
    """
    if not len(labels) or not math.isfinite(value):
        return None
    found = _constant(metric, labels, classes)
    if found is None:
        return None
    constant, spread, answer = found
    worse = value - constant if metric in _ERRORS else constant - value
    if worse <= _SIGNIFICANT * spread / math.sqrt(len(labels)):
        return None
    return (
        f"{metric} is {value:.4g} before anything is changed, and {answer} gives {constant:.4g}: "
        "are the samples scaled as in training (0 to 1 or 0 to 255?), and the labels in the order "
        "of the outputs?"
    )


def _constant(metric: str, labels: Array, classes: int | None) -> tuple[float, float, str] | None:
    """What a constant answer reaches, the standard deviation of a sample's score, and its name."""
    if metric in _CLASSES:
        counts = _class_counts(labels, classes)
        if metric == "top1":
            best, answer = counts.max(), f"class {int(counts.argmax())} for every one"
        else:
            best, answer = np.sort(counts)[-5:].sum(), "the five commonest classes for every one"
        return *_share(float(best / counts.sum())), answer
    if metric in {"binary_accuracy", "binary_accuracy_logits"}:
        positive = float((np.asarray(labels, np.float64) > 0.5).mean())
        return *_share(max(positive, 1 - positive)), "one answer for every sample"
    if metric in _ERRORS:
        return _constant_error(metric, np.asarray(labels, np.float64))
    guessed = {"auc": (0.5, 0.5), "pearson": (0.0, 1.0)}.get(metric)
    return None if guessed is None else (*guessed, "guessing")


def _share(share: float) -> tuple[float, float]:
    """A share of right answers, and the standard deviation of one of them."""
    return share, math.sqrt(share * (1 - share))


def _class_counts(labels: Array, classes: int | None) -> Array:
    rows = labels.ndim == 2 and labels.shape[1] > 1
    indices = labels.argmax(axis=1) if rows else labels.reshape(-1)
    return np.bincount(np.maximum(indices.astype(np.int64), 0), minlength=classes or 1)


def _constant_error(metric: str, values: Array) -> tuple[float, float, str]:
    if metric == "mae":
        errors, answer = np.abs(values - np.median(values, axis=0)), "the median of the labels"
    else:
        errors, answer = (values - values.mean(axis=0)) ** 2, "the mean of the labels"
    each = errors.reshape(len(values), -1).mean(axis=1)
    return float(each.mean()), float(each.std()), answer
