"""Views of a dataset: some of its samples, or each batch changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset

X = np.arange(100, dtype=np.float32)[:, None]
DATA = {"x": X, "labels": np.arange(100) % 7}


def doubled(batch: Batch) -> Batch:
    return replace(batch, feed={"x": 2 * batch.feed["x"]})


def added(batch: Batch) -> Batch:
    return replace(batch, feed={"x": batch.feed["x"] + 1})


def values(data: Dataset) -> list[float]:
    return [value for batch in data.batches(16) for value in batch.feed["x"][:, 0].tolist()]


def test_some_samples_are_drawn_by_position_and_seed() -> None:
    data = Dataset.open(DATA)
    found = values(data.sampled(30))
    assert len(found) == 30
    assert found == sorted(set(found))
    assert found == values(Dataset.open(iter_of(16)).sampled(30))
    assert found != values(data.sampled(30, seed=1))
    assert set(found) == set(values(data.split(0.3)[0]))


def iter_of(size: int) -> list[dict[str, np.ndarray]]:
    return [{"x": X[start : start + size]} for start in range(0, 100, size)]


def test_fewer_samples_are_all_taken() -> None:
    data = Dataset.open(DATA)
    assert data.sampled(100) is data
    assert len(values(data.take(40).sampled(50))) == 40


def test_changes_follow_each_other_and_keep_to_every_view() -> None:
    data = Dataset.open(DATA).changed(doubled).changed(added)
    expected = [2 * value + 1 for value in X[:, 0].tolist()]
    assert values(data) == expected
    first, second = data.split(0.5)
    assert sorted(values(first) + values(second)) == expected
    assert values(data.take(5)) == expected[:5]
    assert values(data.without_labels()) == expected
    assert np.array_equal(data.all_labels(""), DATA["labels"])
    assert values(Dataset.open(DATA)) == X[:, 0].tolist()
