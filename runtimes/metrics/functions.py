"""Metrics that are functions of the user's, of scikit-learn or of Keras."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.metrics.direction import higher_is_better, is_scorer, words
from runtimes.metrics.names import refuse_unknown
from runtimes.metrics.pooled import joined_pieces

_LABELS = words(
    "y y_t y_true true trues label labels labels_true target targets truth ground_truth gt "
    "reference references actual expected"
)
_SCORES = words("y_score y_prob y_proba scores probabilities")


class FunctionMetric:
    """A function of the user's, called once with everything.

    It takes the outputs and the labels; the other way round, as scikit-learn and Keras have it,
    where its first parameter is named after labels (``y_true``).
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.output: str | None = None
        self.higher_is_better = higher_is_better(name, function)
        self._call, self._labels_first = _adapted(function)
        self._outputs: dict[str, list[Array]] = {}
        self._labels: dict[str, list[Array]] = {}

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        """Keep a batch."""
        for kept, batch in ((self._outputs, outputs), (self._labels, labels)):
            for key, array in batch.items():
                kept.setdefault(key, []).append(array)

    def state(self) -> dict[str, Any]:
        """Everything that was kept."""
        both = {"outputs": self._outputs, "labels": self._labels}
        return {  # lists keep the order of the keys, which a function may go by
            side: [[key, joined_pieces(pieces)] for key, pieces in kept.items()]
            for side, kept in both.items()
        }

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Add the batches that the ``state`` of another one is of, which come later."""
        for kept, other in ((self._outputs, state["outputs"]), (self._labels, state["labels"])):
            for key, pieces in other:
                kept.setdefault(key, []).extend(pieces)

    def value(self) -> float:
        """What the function says of everything."""
        return self._of(slice(None))

    def scores(self) -> None:
        """A sample has no value by itself."""
        return None

    def resampled(self, places: Array) -> float:
        """What the function says of some samples; NaN where it fails."""
        try:
            return self._of(places)
        except DataError:
            return math.nan

    def _of(self, places: Any) -> float:
        arguments = []
        for kept in (self._outputs, self._labels):
            whole = {key: np.concatenate(arrays)[places] for key, arrays in kept.items()}
            arguments.append(whole if len(whole) > 1 else next(iter(whole.values())))
        outputs, labels = arguments
        try:
            found = np.asarray(
                self._call(labels, outputs) if self._labels_first else self._call(outputs, labels)
            )
        except Exception as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"the metric {self.name!r} failed: {type(error).__name__}: {reason}"
            ) from error
        if found.dtype.kind not in "biuf" or found.size != 1:
            raise DataError(
                f"the metric {self.name!r} gave {_described(found)}, not one number for all samples"
            )
        value = float(found.reshape(()))
        if not math.isfinite(value):
            raise DataError(f"the metric {self.name!r} gave {value}, not a finite number")
        return value


def load_function(name: str) -> Callable[..., Any]:
    """Import ``package.module:function``; ``DataError`` where that cannot be."""
    module, _, attribute = name.partition(":")
    refuse_unknown(name)
    try:
        with _working_folder_importable():
            function = getattr(import_module(module), attribute)
    except ImportError as error:
        raise DataError(f"the metric {name!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise DataError(f"the metric {name!r}: {module} has no {attribute!r}") from error
    except Exception as error:  # whatever the user's module does while it is imported
        raise DataError(
            f"the metric {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(function):
        raise DataError(f"the metric {name!r} is not a function")
    return function  # type: ignore[no-any-return]


def _adapted(function: Any) -> tuple[Callable[..., Any], bool]:
    """The function to call with arrays, and whether labels come first."""
    if is_scorer(function):
        inner, sign = function._score_func, function._sign
        keywords = getattr(function, "_kwargs", {})
        call = _of_scikit_learn(lambda true, found: sign * inner(true, found, **keywords), inner)
        return call, True
    module = getattr(function, "__module__", None) or ""
    if module.split(".")[0] == "keras":
        return _of_keras(function), True
    if module.split(".")[0] == "sklearn":
        return _of_scikit_learn(function, function), True
    names = _parameters(function)
    return function, bool(names) and names[0].lower() in _LABELS


def _of_keras(function: Any) -> Callable[..., Any]:
    """A metric (an object with a state), a loss, or a function that scores each sample."""

    def call(labels: Any, outputs: Any) -> Any:
        one = function() if isinstance(function, type) else function
        if hasattr(one, "update_state"):
            one.reset_state()
            one.update_state(labels, outputs)
            return np.asarray(one.result())
        return np.asarray(one(labels, outputs)).mean()

    return call


def _of_scikit_learn(
    function: Callable[[Any, Any], Any], inner: Callable[..., Any]
) -> Callable[[Any, Any], Any]:
    """As it is, and where it wants classes instead of what a model gives, with those."""
    names = _parameters(inner)
    wants_scores = len(names) > 1 and names[1] in _SCORES

    def call(labels: Any, outputs: Any) -> Any:
        labels, outputs = _flat(labels), _flat(outputs)
        try:
            return function(labels, outputs)
        except ValueError:
            answers = _scores_of(outputs) if wants_scores else _classes_of(labels, outputs)
            if answers is None:
                raise
            one_hot = labels.ndim == 2 and labels.shape[1] > 1 and not wants_scores
            return function(labels.argmax(1) if one_hot else labels, answers)

    return call


def _flat(values: Any) -> Any:
    return values[:, 0] if getattr(values, "shape", ())[1:] == (1,) else values


def _scores_of(outputs: Any) -> Any:
    """Of two classes the score of the second, as scikit-learn wants it."""
    return outputs[:, 1] if outputs.ndim == 2 and outputs.shape[1] == 2 else None


def _classes_of(labels: Any, outputs: Any) -> Any:
    if outputs.ndim == 2:
        return outputs.argmax(axis=1)
    if outputs.ndim == 1 and np.isin(labels, (0, 1)).all():
        are_probabilities = outputs.min() >= 0 and outputs.max() <= 1
        return (outputs > (0.5 if are_probabilities else 0.0)).astype(np.int64)
    return None


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _described(found: Array) -> str:
    if found.dtype.kind in "biuf":
        return f"an array of shape {list(found.shape)}"
    return type(found.item()).__name__ if found.shape == () else "no numbers"


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    """The user's own module lies where the command is run, which a console script leaves out."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
