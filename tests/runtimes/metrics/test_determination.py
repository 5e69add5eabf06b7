"""R² of a regression, column by column."""

from __future__ import annotations

import numpy as np
import pytest

from runtimes.errors import DataError
from runtimes.metrics.metric import open_metric

RNG = np.random.default_rng(0)


def r2(output: object, labels: object, batch: int = 7) -> float:
    metric = open_metric("r2", ["y"], [""])
    output, labels = np.asarray(output), np.asarray(labels)
    for start in range(0, len(output), batch):
        rows = slice(start, start + batch)
        metric.update({"y": output[rows]}, {"": labels[rows]}, np.arange(len(output))[rows])
    assert metric.higher_is_better
    return metric.value()


def test_it_is_that_of_scikit_learn() -> None:
    score = pytest.importorskip("sklearn.metrics").r2_score
    labels = RNG.normal(size=(40, 3)) * [1, 1000, 0.01] + 5
    output = labels + RNG.normal(size=(40, 3)) * [0.5, 100, 0.02]
    assert r2(output, labels) == pytest.approx(score(labels, output))
    assert r2(output[:, 1:2], labels[:, 1]) == pytest.approx(score(labels[:, 1], output[:, 1]))


def test_a_column_that_does_not_vary_has_nothing_to_explain() -> None:
    labels = np.stack([RNG.normal(size=30), np.full(30, 7.0)], 1)
    assert r2(labels, labels) == 1
    with pytest.raises(DataError, match="r2 needs labels that vary"):
        r2(labels[:, 1], labels[:, 1])


def test_pictures_have_one_value() -> None:
    labels = RNG.normal(size=(9, 8, 8, 1))
    found = r2(labels + 0.5, labels)
    assert found == pytest.approx(1 - 0.25 / labels.var())
