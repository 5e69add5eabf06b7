"""Samples of several shapes share batches with their like."""

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtimes import Dataset
from runtimes.data.batches import Batch, by_shape


def single(sizes: list[int]) -> Iterator[Batch]:
    for place, size in enumerate(sizes):
        array = np.full((1, size), place, np.float32)
        yield Batch({"x": array}, {"": np.array([place])}, np.array([place]))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=80), st.integers(1, 6))
def test_every_sample_comes_once_and_with_its_like(sizes: list[int], batch_size: int) -> None:
    seen: list[int] = []
    for batch in by_shape(single(sizes), batch_size):
        assert 1 <= len(batch) <= 8 * batch_size + 1
        width = batch.feed["x"].shape[1]
        for row, index in enumerate(batch.indices):
            assert sizes[index] == width
            assert batch.feed["x"][row, 0] == batch.labels[""][row] == index
        seen += batch.indices.tolist()
    assert sorted(seen) == list(range(len(sizes)))


@given(st.integers(1, 30), st.integers(1, 7))
def test_samples_of_one_shape_stay_in_order(count: int, batch_size: int) -> None:
    batches = list(by_shape(single([3] * count), batch_size))
    assert [i for batch in batches for i in batch.indices] == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_few_samples_wait() -> None:
    waiting = 0
    taken = 0

    def counted() -> Iterator[Batch]:
        nonlocal taken
        for batch in single(list(range(1, 400))):
            taken += 1
            yield batch

    given_back = 0
    for batch in by_shape(counted(), 4):
        given_back += len(batch)
        waiting = max(waiting, taken - given_back)
    assert waiting <= 32
    assert given_back == 399


def test_ragged_iterables_are_batched_by_shape() -> None:
    lengths = [2, 3, 2, 3, 2, 5]
    data = Dataset.open([np.zeros((1, n), np.float32) for n in lengths])
    found = [(b.feed["data"].shape, b.indices.tolist()) for b in data.batches(2)]
    assert found == [((2, 2), [0, 2]), ((2, 3), [1, 3]), ((1, 2), [4]), ((1, 5), [5])]
