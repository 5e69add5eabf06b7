"""Metrics on labelled data, accumulated batch by batch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.scores import (
    absolute_error,
    binary_correct,
    binary_correct_logits,
    positive_scores,
    squared_error,
    top1_correct,
    top5_correct,
)

Score = Callable[[Array, Array, Array], Array]
"""Of a batch's output, labels and sample indices: a float64 for each sample."""


class Metric(Protocol):
    """A metric being accumulated over the batches of one model."""

    name: str
    higher_is_better: bool

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        """Add a batch; ``indices`` are the samples' positions, for messages."""
        ...

    def value(self) -> float:
        """The metric over all samples so far."""
        ...


_MEANS: Mapping[str, tuple[Score, bool]] = {
    "top1": (top1_correct, True),
    "top5": (top5_correct, True),
    "binary_accuracy": (binary_correct, True),
    "binary_accuracy_logits": (binary_correct_logits, True),
    "mae": (absolute_error, False),
    "mse": (squared_error, False),
}

METRIC_NAMES = (*_MEANS, "auc")
"""The metrics that kilnx has; others are functions of the user's."""


def open_metric(name: str, outputs: Sequence[str], labels: Sequence[str]) -> Metric:
    """Start a metric on the output that has labels.

    ``name``: ``top1``, ``top5``, ``binary_accuracy`` (a probability against 0.5),
    ``binary_accuracy_logits`` (a logit against 0), ``auc``, ``mae``, ``mse``, each optionally
    with ``:<output>``; or ``package.module:function``, a function of all outputs and labels
    (dicts of arrays, or the arrays where there is only one) that gives a float; higher is
    better unless its attribute ``higher_is_better`` is False. For it alone all outputs are
    kept in memory. ``outputs`` and ``labels`` are the names of the model's outputs and of the
    labels. Raises ``DataError`` for an unknown name and where no labels, or too many, fit.
    """
    base, _, rest = name.partition(":")
    if base not in METRIC_NAMES:
        function = _load_function(name)
        if not labels:
            raise _no_labels(name)
        return _FunctionMetric(name, function)
    output, key = _labelled_output(name, rest, outputs, labels)
    if base == "auc":
        return _AreaUnderCurve(name, output, key)
    score, higher_is_better = _MEANS[base]
    return _MeanMetric(name, higher_is_better, score, output, key)


def drop(reference: float, candidate: float, *, higher_is_better: bool) -> float:
    """How much worse the candidate is; negative where it is better."""
    return reference - candidate if higher_is_better else candidate - reference


class _MeanMetric:
    """The mean of a score that each sample has by itself."""

    def __init__(
        self, name: str, higher_is_better: bool, score: Score, output: str, label: str
    ) -> None:
        self.name, self.higher_is_better = name, higher_is_better
        self._score, self._output, self._label = score, output, label
        self._total, self._count = 0.0, 0

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        scores = self._score(outputs[self._output], labels[self._label], indices)
        self._total += float(scores.sum())
        self._count += len(scores)

    def value(self) -> float:
        return self._total / self._count


class _AreaUnderCurve:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order.

    Equal scores count half (Mann-Whitney U). Keeps one number a sample.
    """

    higher_is_better = True

    def __init__(self, name: str, output: str, label: str) -> None:
        self.name = name
        self._output, self._label = output, label
        self._scores: list[Array] = []
        self._positive: list[Array] = []

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        scores, positive = positive_scores(outputs[self._output], labels[self._label], indices)
        self._scores.append(scores)
        self._positive.append(positive)

    def value(self) -> float:
        scores, positive = np.concatenate(self._scores), np.concatenate(self._positive)
        positives = int(positive.sum())
        negatives = len(positive) - positives
        if not positives or not negatives:
            raise DataError("auc needs samples of both classes; all labels are the same")
        _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
        last = np.cumsum(count)
        ranks = (last - (count - 1) / 2)[place]  # equal scores share their mean rank
        u = ranks[positive].sum() - positives * (positives + 1) / 2
        return float(u / (positives * negatives))


class _FunctionMetric:
    """A function of the user's, called once with everything."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.higher_is_better = bool(getattr(function, "higher_is_better", True))
        self._function = function
        self._outputs: dict[str, list[Array]] = {}
        self._labels: dict[str, list[Array]] = {}

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        for kept, batch in ((self._outputs, outputs), (self._labels, labels)):
            for key, array in batch.items():
                kept.setdefault(key, []).append(array)

    def value(self) -> float:
        arguments = []
        for kept in (self._outputs, self._labels):
            whole = {key: np.concatenate(arrays) for key, arrays in kept.items()}
            arguments.append(whole if len(whole) > 1 else next(iter(whole.values())))
        try:
            value = float(self._function(*arguments))
        except Exception as error:
            raise DataError(
                f"the metric {self.name!r} failed: {type(error).__name__}: {error}"
            ) from error
        if not math.isfinite(value):
            raise DataError(f"the metric {self.name!r} gave {value}, not a finite number")
        return value


def _labelled_output(
    metric: str, wanted: str, outputs: Sequence[str], labels: Sequence[str]
) -> tuple[str, str]:
    """The output that the metric judges and the key of its labels."""
    if not labels:
        raise _no_labels(metric)
    if wanted and wanted not in outputs:
        raise DataError(
            f"the metric {metric!r} names the output {wanted!r}; the model has {_listed(outputs)}"
        )
    if wanted in labels and wanted:
        return wanted, wanted
    named = [label for label in labels if label]
    if wanted and (named or len(labels) != 1):
        raise DataError(f"there are no labels 'labels:{wanted}' for the metric {metric!r}")
    if wanted:
        return wanted, ""
    if len(labels) > 1:
        raise DataError(
            f"there are labels for several outputs ({_listed(labels)}); "
            f"say which one the metric judges: {metric}:{named[0]}"
        )
    if named and named[0] not in outputs:
        raise DataError(
            f"the labels 'labels:{named[0]}' belong to no output; the model has {_listed(outputs)}"
        )
    if named:
        return named[0], named[0]
    if len(outputs) > 1:
        raise DataError(
            f"the model has the outputs {_listed(outputs)}; say which one the labels are for: "
            f"name the array 'labels:{outputs[0]}', or the metric {metric}:{outputs[0]}"
        )
    return outputs[0], ""


def _no_labels(metric: str) -> DataError:
    return DataError(
        f"the metric {metric!r} needs labels: an array 'labels' or 'labels:<output>' in the data"
    )


def _load_function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise DataError(
            f"there is no metric {name!r}; there are {', '.join(METRIC_NAMES)}, "
            "and package.module:function for one of your own"
        )
    try:
        with _working_folder_importable():
            function = getattr(import_module(module), attribute)
    except ImportError as error:
        raise DataError(f"the metric {name!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise DataError(f"the metric {name!r}: {module} has no {attribute!r}") from error
    if not callable(function):
        raise DataError(f"the metric {name!r} is not a function")
    return function  # type: ignore[no-any-return]


@contextmanager
def _working_folder_importable() -> Any:
    """The user's own module lies where the command is run, which a console script leaves out."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
