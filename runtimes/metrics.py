"""Metrics on labelled data, accumulated batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from runtimes.base import Array


class Metric(Protocol):
    """A metric being accumulated over the batches of one model."""

    name: str
    higher_is_better: bool

    def update(self, outputs: Mapping[str, Array], labels: Mapping[str, Array]) -> None:
        """Add a batch."""
        ...

    def value(self) -> float:
        """The metric over all samples so far."""
        ...


def open_metric(name: str, outputs: Sequence[str], labels: Sequence[str]) -> Metric:
    """Start a metric on the output that has labels.

    ``name``: ``top1``, ``top5``, ``binary_accuracy``, ``binary_accuracy_logits``, ``auc``,
    ``mae``, ``mse``, each optionally with ``:<output>``; or ``package.module:function``, a
    function of all outputs and labels (dicts of arrays, or the arrays where there is only one)
    that gives a float, higher is better unless its attribute ``higher_is_better`` is False.
    ``outputs`` and ``labels`` are the names of the model's outputs and of the labels.
    Raises ``DataError`` for an unknown name and where no labels, or too many, fit.
    """
    raise NotImplementedError


def drop(reference: float, candidate: float, *, higher_is_better: bool) -> float:
    """How much worse the candidate is; negative where it is better."""
    return reference - candidate if higher_is_better else candidate - reference
