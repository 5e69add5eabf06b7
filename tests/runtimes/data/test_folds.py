"""Cross-validation: every sample judges once and is fitted on otherwise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from runtimes.data.dataset import Dataset
from runtimes.errors import DataError


def samples(data: Dataset) -> list[float]:
    return [float(x) for batch in data.batches(4) for x in batch.feed["x"][:, 0]]


@pytest.mark.parametrize(("total", "count"), [(10, 4), (7, 7), (100, 3)])
def test_every_sample_is_held_out_once(total: int, count: int) -> None:
    data = Dataset.open({"x": np.arange(total, dtype=np.float32)[:, None]})
    folds = data.folds(count, seed=3)
    held_out = [samples(part) for _, part in folds]
    assert sorted(itertools.chain(*held_out)) == list(range(total))
    assert {len(part) for part in held_out} <= {total // count, -(-total // count)}
    for (others, _), part in zip(folds, held_out, strict=True):
        assert sorted(samples(others) + part) == list(range(total))
    assert data.folds(count, seed=3)[0][1].batches(99).__next__().indices.tolist() == (
        folds[0][1].batches(99).__next__().indices.tolist()
    )


def test_the_seed_decides_what_goes_where() -> None:
    data = Dataset.open({"x": np.arange(50, dtype=np.float32)[:, None]})
    assert samples(data.folds(2, seed=0)[0][1]) != samples(data.folds(2, seed=1)[0][1])


def test_too_few_samples() -> None:
    data = Dataset.open({"x": np.zeros((3, 1), np.float32)})
    with pytest.raises(DataError, match="3 samples"):
        data.folds(4)
