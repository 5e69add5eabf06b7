"""How right an output is, sample by sample.

Each function takes a batch's output, its labels and the samples' positions (for messages), and
gives a float64 for every sample. Labels that cannot be labels raise ``DataError`` with the
sample and the value.
"""

from __future__ import annotations

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError


def top1_correct(output: Array, labels: Array, indices: Array) -> Array:
    """1 where the largest value along the last axis is the label's; means over other axes.

    ``labels``: class indices, or one-hot (any scores) with the shape of ``output``. Of equal
    values the first counts, as in argmax.
    """
    return _within_largest(1, output, labels, indices)


def top5_correct(output: Array, labels: Array, indices: Array) -> Array:
    """1 where the label's value is among the five largest along the last axis."""
    if output.ndim >= 2 and output.shape[-1] <= 5:
        raise DataError(f"top5 of {output.shape[-1]} classes is always right; use the metric top1")
    return _within_largest(5, output, labels, indices)


def binary_correct(output: Array, labels: Array, indices: Array) -> Array:
    """1 where a probability is on its label's side of 0.5."""
    if output.size and (output.min() < 0 or output.max() > 1):
        worst = float(output.min() if output.min() < 0 else output.max())
        raise DataError(
            f"binary_accuracy takes probabilities, and the output holds {worst:.4g}; "
            "for logits use binary_accuracy_logits"
        )
    return _per_sample((output > 0.5) == binary_labels(output, labels, indices))


def binary_correct_logits(output: Array, labels: Array, indices: Array) -> Array:
    """1 where a logit is on its label's side of 0."""
    return _per_sample((output > 0) == binary_labels(output, labels, indices))


def absolute_error(output: Array, labels: Array, indices: Array) -> Array:
    """Mean absolute difference between output and labels."""
    return _per_sample(np.abs(_difference(output, labels)))


def squared_error(output: Array, labels: Array, indices: Array) -> Array:
    """Mean squared difference between output and labels."""
    return _per_sample(_difference(output, labels) ** 2)


def product_sums(output: Array, labels: Array) -> Array:
    """Of each sample: how many elements, Σx, Σy, Σx², Σy², Σxy, [samples, 6] in float64."""
    x = output.astype(np.float64).reshape(len(output), -1)
    y = fitted(output, labels).astype(np.float64).reshape(len(output), -1)
    count = np.full(len(x), x.shape[1], np.float64)
    return np.stack(
        [count, x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], axis=1
    )


def positive_scores(output: Array, labels: Array, indices: Array) -> tuple[Array, Array]:
    """The score of the positive class and whether it is the label, one each a sample.

    The output is [samples], [samples, 1], or [samples, 2] with the positive class last.
    """
    if output.ndim == 2 and output.shape[1] == 2:
        positive = class_indices(output, labels, indices) == 1
        return output[:, 1].astype(np.float64), positive
    if output.size != len(output):
        raise DataError(f"auc takes one score a sample, the output is {list(output.shape)}")
    return (
        output.reshape(-1).astype(np.float64),
        binary_labels(output, labels, indices).reshape(-1),
    )


def class_indices(output: Array, labels: Array, indices: Array) -> Array:
    """Labels as class indices of shape ``output.shape[:-1]``, int64.

    ``labels`` hold indices (a last axis of one is dropped) or have the shape of ``output``.
    """
    if output.ndim < 2 or output.shape[-1] < 2:
        raise DataError(
            f"the output {list(output.shape)} has no classes along its last axis; "
            "for one probability or logit use binary_accuracy or binary_accuracy_logits"
        )
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int8)
    if labels.shape == output.shape:
        return np.asarray(np.argmax(labels, axis=-1))
    if labels.shape == (*output.shape[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != output.shape[:-1]:
        raise DataError(
            f"labels of shape {list(labels.shape)} do not fit the output {list(output.shape)}; "
            f"give class indices {list(output.shape[:-1])} or one-hot {list(output.shape)}"
        )
    classes = output.shape[-1]
    wrong = (labels < 0) | (labels >= classes) | (labels != np.floor(labels))
    _refuse_where(wrong, labels, indices, f"a class index from 0 to {classes - 1}")
    return labels.astype(np.int64)


def classes_last(output: Array, labels: Array) -> tuple[Array, Array]:
    """Output and labels with the axis of classes last, which may be the second (channels first).

    The shape of class indices says where it is; of one-hot labels, the axis along which they sum
    to one.
    """
    if output.ndim < 3:
        return output, labels
    if labels.shape == output.shape:
        sums = [np.asarray(labels.sum(axis=axis)) for axis in (-1, 1)]
        if bool((np.abs(sums[0] - 1) > 1e-3).any()) and bool((np.abs(sums[1] - 1) <= 1e-3).all()):
            return np.moveaxis(output, 1, -1), np.moveaxis(labels, 1, -1)
        return output, labels
    last = (*output.shape[:-1],)
    if labels.shape in {last, (*last, 1)}:
        return output, labels
    first = (output.shape[0], *output.shape[2:])
    if labels.shape == (first[0], 1, *first[1:]):
        labels = labels[:, 0]
    if labels.shape in {first, (*first, 1)}:
        return np.moveaxis(output, 1, -1), labels
    return output, labels


def _within_largest(count: int, output: Array, labels: Array, indices: Array) -> Array:
    output, labels = classes_last(output, labels)
    wanted = class_indices(output, labels, indices)[..., None]
    values = np.take_along_axis(output, wanted, axis=-1)
    before = np.arange(output.shape[-1]) < wanted
    rank = ((output > values) | ((output == values) & before)).sum(axis=-1)
    # A comparison with NaN is false, which must not make NaN the largest.
    return _per_sample((rank < count) & ~np.isnan(values[..., 0]))


def binary_labels(output: Array, labels: Array, indices: Array) -> Array:
    """Whether each label is positive; labels are 0 and 1, or -1 and 1."""
    labels = fitted(output, labels)
    known = (labels == 0) | (labels == 1) | (labels == -1)  # -1 and 1 are those of a hinge loss
    _refuse_where(~known, labels, indices, "0 or 1")
    return np.asarray(labels > 0)


def _difference(output: Array, labels: Array) -> Array:
    difference: Array = output.astype(np.float64) - fitted(output, labels).astype(np.float64)
    return difference


def fitted(output: Array, labels: Array) -> Array:
    """Labels in the shape of the output; an axis of one may be missing or left over at the end."""
    if labels.shape != output.shape and (
        (*labels.shape, 1) == output.shape or labels.shape == (*output.shape, 1)
    ):
        labels = labels.reshape(output.shape)
    if labels.shape != output.shape:
        raise DataError(
            f"labels of shape {list(labels.shape)} do not fit the output {list(output.shape)}"
        )
    return labels


def _refuse_where(wrong: Array, labels: Array, indices: Array, wanted: str) -> None:
    if wrong.any():
        place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        raise DataError(
            f"the label of sample {indices[place[0]]} is {labels[place]}, but must be {wanted}"
        )


def _per_sample(scores: Array) -> Array:
    return np.asarray(scores.astype(np.float64).reshape(len(scores), -1).mean(axis=1))
