"""Which metric labels mean: told from their shape and values, the output and the model's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.keras_models.loss_meaning import Loss
from runtimes.metrics.labelled_output import labels_of_no_output, listed

Look = Callable[[str], Array]
"""Gives some of the values of an output, [samples, …], that the model has by itself."""

Shape = tuple[int | str | None, ...]

_ACCURACIES = ("top1", "binary_accuracy", "binary_accuracy_logits")
# Of labels larger than that, samples are looked at that lie evenly over the data.
_MOST_ELEMENTS = 20_000_000


@dataclass(frozen=True)
class Judged:
    """What is to be judged: outputs, labelled samples, and what else is known of the model.

    ``look`` is asked only where the labels leave open what the output is. ``losses``: by output,
    ``""`` for all.
    """

    outputs: Sequence[TensorSpec]
    data: Dataset
    look: Look
    losses: Mapping[str, Loss]

    def loss(self, output: str) -> Loss | None:
        """What the model was trained to make small at this output."""
        return self.losses.get(output, self.losses.get(""))


def choose_metrics(judged: Judged) -> tuple[str, ...]:
    """The metric of every output that has labels, with its output where there are several.

    Raises ``DataError`` where none fits, which says what to name. Labels that nobody gave (folders
    of images) may fit none: then there is no metric for them.
    """
    names = [output.name for output in judged.outputs]
    found = {}
    for label in judged.data.label_names:
        if label and label not in names:
            raise labels_of_no_output(label, names)
        output, metric = _of_label(judged, label)
        if metric is not None:
            found[output] = metric
    several = len(names) > 1 or len(found) > 1
    return tuple(f"{metric}:{name}" if several else metric for name, metric in found.items())


def accuracy_of(name: str, judged: Judged) -> str:
    """The accuracy that ``name`` (``accuracy``, with an output perhaps) means for these labels."""
    _, colon, wanted = name.partition(":")
    for label in judged.data.label_names:
        output, metric = _of_label(judged, label)
        if metric in _ACCURACIES and wanted in ("", output):
            return f"{metric}{colon}{wanted}"
    return f"top1{colon}{wanted}"


def refuse_other_classes(outputs: Sequence[TensorSpec], data: Dataset) -> None:
    """Raise ``DataError`` where labels are names, fewer or more than the output has classes.

    Then nobody can say which of the output's classes each of them is.
    """
    for label, names in data.class_names.items():
        specs = [one for one in outputs if label == one.name or (label == "" and len(outputs) == 1)]
        widths = {one.shape[-1] for one in specs if one.shape is not None and len(one.shape) > 1}
        for width in widths:
            if isinstance(width, int) and len(names) != max(width, 2):
                raise DataError(
                    f"{data.name}: the labels name {len(names)} classes "
                    f"({listed(names[:3])}{', …' if len(names) > 3 else ''}), and the output "
                    f"{specs[0].name!r} has {width}: which is which cannot be told; give each "
                    "sample the index of its class"
                )


def _of_label(judged: Judged, label: str) -> tuple[str, str | None]:
    """The output that labels are of, and its metric."""
    labels = _some(judged.data.all_labels(label))
    outputs = [one for one in judged.outputs if label in {"", one.name}]
    fitting = {
        one.name: metric_of(one, labels, judged.loss(one.name), judged.look) for one in outputs
    }
    fitting = {name: metric for name, metric in fitting.items() if metric is not None}
    if len(fitting) == 1:
        return next(iter(fitting.items()))
    if judged.data.implied_labels:
        return label, None
    if fitting:
        raise DataError(
            f"the labels fit the outputs {listed(list(fitting))}; say which one they are for: "
            f"name the array 'labels:{next(iter(fitting))}'"
        )
    raise DataError(_none_fits(judged, label, labels, outputs))


def metric_of(output: TensorSpec, labels: Array, loss: Loss | None, look: Look) -> str | None:
    """The metric that ``labels`` [samples, …] of ``output`` mean; None where none fits."""
    is_float = output.dtype.kind == "f" or "float" in output.dtype.name
    if not is_float or (loss is not None and loss.meaning == "other"):
        return None
    shape: Shape = output.shape[1:] if output.shape else ()
    if output.shape is None or not all(isinstance(one, int) for one in shape[:1] + shape[-1:]):
        shape = look(output.name).shape[1:]
    given = labels.shape[1:]
    pairs: list[tuple[Shape, Shape]] = [(given, shape), ((*given, 1), shape), (given, (*shape, 1))]
    fits = any(_same(*pair) for pair in pairs)
    if fits and loss is not None and loss.meaning == "values":
        return "r2"
    if _are_indices(labels) and _place_of_classes(given, shape) is not None:
        return "top1"
    if fits and _same(given, shape) and shape and shape[-1] != 1:
        return _of_columns(output.name, labels, loss, look)
    return _of_one(output.name, labels, loss, look) if fits else None


def _of_columns(output: str, labels: Array, loss: Loss | None, look: Look) -> str:
    """A value for each column of the output: one-hot, several answers at once, or quantities."""
    binary = bool(np.isin(labels, (0, 1)).all())
    meaning = None if loss is None else loss.meaning
    if meaning == "binary" and binary:
        return _binary(output, loss, look)
    if meaning == "classes" or (binary and any(_sum_to_one(labels, axis) for axis in (-1, 1))):
        return "top1"
    if binary:
        return _binary(output, loss, look)
    soft = bool((labels >= 0).all()) and _sum_to_one(labels, -1)
    return "top1" if soft and _sum_to_one(look(output), -1) else "r2"


def _of_one(output: str, labels: Array, loss: Loss | None, look: Look) -> str:
    """One value a sample (or pixel): yes or no, or a quantity."""
    values = np.unique(labels)
    if np.isin(values, (0, 1)).all():
        return _binary(output, loss, look)
    if loss is not None and loss.meaning == "binary" and np.isin(values, (-1, 1)).all():
        return _binary(output, loss, look)
    return "r2"


def _binary(output: str, loss: Loss | None, look: Look) -> str:
    values = look(output)
    if values.min(initial=0) < 0 or values.max(initial=0) > 1 or (loss and loss.from_logits):
        return "binary_accuracy_logits"
    return "binary_accuracy"


def _place_of_classes(given: Shape, shape: Shape) -> int | None:
    """The axis of a sample that is indexed by labels of the shape ``given``: the last or first."""
    places: list[tuple[int, Shape, tuple[Shape, ...]]] = []
    if shape:
        places.append((-1, shape[-1:], (shape[:-1], (*shape[:-1], 1))))
    if len(shape) > 1:
        places.append((0, shape[:1], (shape[1:], (*shape[1:], 1), (1, *shape[1:]))))
    for axis, width, wanted in places:
        if width != (1,) and any(_same(given, one) for one in wanted):
            return axis
    return None


def _same(one: Shape, other: Shape) -> bool:
    return len(one) == len(other) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int)
        for a, b in zip(one, other, strict=True)
    )


def _are_indices(labels: Array) -> bool:
    if labels.dtype.kind in {"b", "u"}:
        return True
    return bool((labels >= 0).all() and (labels == np.floor(labels)).all())


def _sum_to_one(values: Array, axis: int) -> bool:
    if values.ndim < 2:
        return False
    return bool((np.abs(values.astype(np.float64).sum(axis=axis) - 1) < 1e-3).all())


def _some(labels: Array) -> Array:
    step = max(1, labels.size // _MOST_ELEMENTS)
    return labels[::step]


def _none_fits(judged: Judged, label: str, labels: Array, outputs: Sequence[TensorSpec]) -> str:
    loss = judged.loss(outputs[0].name)
    trained = f", trained with {loss.name}" if loss is not None else ""
    shown = "; ".join(f"{one}{trained}" for one in outputs)
    array = f"labels:{label}" if label else "labels"
    return (
        f"{judged.data.name}: no metric follows from {array!r} ({labels.dtype.name}, "
        f"{list(labels.shape[1:])} a sample) for the output {shown}; name one with --metric (top1, "
        "r2, mae, …, or package.module:function), or leave the labels out"
    )
