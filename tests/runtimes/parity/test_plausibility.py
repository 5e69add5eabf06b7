"""Doubts about the data of a budget: the labels of the output that the metric judges."""

from __future__ import annotations

import numpy as np

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.parity.plausibility import judged_labels

FLOAT = np.dtype(np.float32)
OUTPUTS = [TensorSpec("class", FLOAT, ("N", 5)), TensorSpec("box", FLOAT, ("N", 4))]


def data(**labels: np.ndarray) -> Dataset:
    return Dataset.open({"x": np.zeros((100, 2), np.float32), **labels})


def doubts(
    outputs: list[TensorSpec], evaluation: Dataset, metric: str, value: float | None = None
) -> tuple[str, ...]:
    return judged_labels(outputs, evaluation, metric).doubts(value)


def test_the_labels_of_the_judged_output_count() -> None:
    kinds = {"labels:class": np.arange(100) % 5, "labels:box": np.ones((100, 4), np.float32)}
    assert doubts(OUTPUTS, data(**kinds), "top1:class", 0.9) == ()
    assert "rows of labels" in doubts(OUTPUTS, data(**kinds), "top1:box")[0]
    assert "class 0 for every one gives 0.2" in doubts(OUTPUTS, data(**kinds), "top1:class", 0.0)[0]


def test_one_doubt_at_a_time_and_none_of_a_users_function() -> None:
    booleans = data(labels=np.arange(100) % 2 == 0)
    assert len(doubts(OUTPUTS[:1], booleans, "top1", 0.0)) == 1
    assert doubts(OUTPUTS[:1], booleans, "sklearn.metrics:accuracy_score", 0.0) == ()
