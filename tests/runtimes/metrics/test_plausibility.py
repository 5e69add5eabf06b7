"""What cannot be labels, and what a constant answer beats, is told apart from what is only hard."""

from __future__ import annotations

import re

import numpy as np
import pytest

from runtimes.metrics.plausibility import doubt_of_baseline, doubt_of_labels

rng = np.random.default_rng(0)
BALANCED = np.arange(200) % 5


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.ones((40, 5), np.float32), r"40 of 40 rows .*sample 0 .* name no class"),
        (np.vstack([np.eye(5), np.zeros((1, 5))]), r"1 of 6 rows .*sample 5 .* name no class"),
        (BALANCED > 2, "booleans, and the output has 5 classes"),
    ],
)
def test_what_names_no_class(labels: np.ndarray, message: str) -> None:
    for metric in ("top1", "top5"):
        found = doubt_of_labels(metric, labels, 5)
        assert found is not None
        assert re.search(message, found), found
    assert doubt_of_labels("mse", labels, 5) is None


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (BALANCED, 5),
        (np.eye(5)[BALANCED], 5),
        (rng.dirichlet(np.ones(5), 40), 5),
        (BALANCED > 2, 2),
        (BALANCED[:, None], 5),
        (BALANCED[:0], 5),
    ],
)
def test_what_names_classes(labels: np.ndarray, classes: int) -> None:
    assert doubt_of_labels("top1", labels, classes) is None


@pytest.mark.parametrize(
    ("metric", "value", "labels", "named"),
    [
        ("top1", 0.05, BALANCED, "class 0 for every one gives 0.2"),
        ("top1", 0.3, np.repeat([3, 1], [160, 40]), "class 3 for every one gives 0.8"),
        ("top5", 0.5, np.zeros(100, int), "gives 1"),
        ("binary_accuracy", 0.2, BALANCED > 1, "gives 0.6"),
        ("auc", 0.2, BALANCED > 1, "guessing gives 0.5"),
        ("pearson", -0.9, rng.normal(size=100), "guessing gives 0"),
        ("mse", 50.0, rng.normal(size=(100, 2)), "the mean of the labels"),
        ("mae", 50.0, rng.normal(size=100), "the median of the labels"),
    ],
)
def test_a_constant_answer_that_is_better_is_named(
    metric: str, value: float, labels: np.ndarray, named: str
) -> None:
    found = doubt_of_baseline(metric, value, labels, 10 if metric == "top5" else 5)
    assert found is not None
    assert named in found
    assert "scaled as in training" in found


@pytest.mark.parametrize(
    ("metric", "value", "labels"),
    [
        ("top1", 0.9, BALANCED),
        ("top1", 0.18, BALANCED),  # chance, within what 200 samples tell
        ("top1", 0.0, BALANCED[:3]),  # too few to tell
        ("auc", 0.9, BALANCED > 1),
        ("mse", 0.1, rng.normal(size=100)),
        ("package:function", 0.0, BALANCED),
        ("top1", float("nan"), BALANCED),
    ],
)
def test_no_doubt_where_there_is_none(metric: str, value: float, labels: np.ndarray) -> None:
    assert doubt_of_baseline(metric, value, labels, 5) is None
