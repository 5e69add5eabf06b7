"""Shards share no sample and lack none; their batches are those of the whole."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes import DataError, Dataset
from runtimes.data.positions import shard_bounds, smallest, smallest_below


@given(st.integers(1, 5000), st.integers(1, 40), st.integers(1, 70))
def test_shards_cover_everything_once(total: int, count: int, block: int) -> None:
    if count > -(-total // block):
        with pytest.raises(DataError, match="too few for"):
            shard_bounds(total, 0, count, block)
        return
    bounds = [shard_bounds(total, index, count, block) for index in range(count)]
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == total
    assert all(start < stop and start % block == 0 for start, stop in bounds)
    sizes = [-(-(stop - start) // block) for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 400), st.integers(1, 200), st.integers(0, 3))
def test_the_smallest_hashes_are_found_piece_by_piece(total: int, count: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtimes.data.positions._CHUNK", 7)
        found = smallest_below(total, count, seed)
    everything = np.arange(total)
    kept = everything if count >= total else everything[smallest(everything, count, seed)]
    assert found.tolist() == kept.tolist()


def _rows(count: int) -> np.ndarray[Any, Any]:
    return np.arange(count, dtype=np.float32)[:, None] * np.ones(3, np.float32)


@pytest.mark.parametrize("kind", ["arrays", "generator", "several shapes", "a split"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_have_the_batches_of_the_whole(kind: str, count: int) -> None:
    whole = _data(kind)
    for size in (4, 8):
        shards = [whole.shard(index, count, block=8) for index in range(count)]
        parts = [batch for one in shards for batch in one.batches(size, block=8)]
        expected = list(whole.batches(size, block=8))
        assert [one.indices.tolist() for one in parts] == [one.indices.tolist() for one in expected]
        for one, two in zip(parts, expected, strict=True):
            for name, values in two.feed.items():
                np.testing.assert_array_equal(one.feed[name], values)


def _data(kind: str) -> Dataset:
    rows = _rows(93)
    if kind == "several shapes":
        return Dataset.open(lambda: (rows[i : i + 1, : 1 + i * i % 3] for i in range(93)))
    if kind == "generator":
        return Dataset.open(lambda: (rows[start : start + 10] for start in range(0, 93, 10)))
    data = Dataset.open(rows)
    return data.split(0.7)[0] if kind == "a split" else data


def test_no_batch_reaches_over_a_block() -> None:
    batches = list(Dataset.open(_rows(50)).batches(6, block=20))
    assert [len(one) for one in batches] == [6, 6, 6, 2, 6, 6, 6, 2, 6, 4]


def test_there_is_no_shard_of_that_number() -> None:
    with pytest.raises(DataError, match="the shards are 0/2 to 1/2"):
        Dataset.open(_rows(99)).shard(2, 2)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[], Path]:
    def save() -> Path:
        np.save(tmp_path / "x.npy", _rows(5))
        return tmp_path / "x.npy"

    return save


def test_a_path_is_opened_again_in_another_process(saved: Callable[[], Path]) -> None:
    data = pickle.loads(pickle.dumps(Dataset.open(saved())))
    assert data.num_samples == 5
    with pytest.raises(DataError, match="give a path"):
        pickle.dumps(data.take(2))
