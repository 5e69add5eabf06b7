"""Index arithmetic of streams: any chunks, any choice, any batch size."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.data.sources import ArraySource, StreamSource, regroup
from runtimes.errors import DataError

chunk_sizes = st.lists(st.integers(0, 7), min_size=1, max_size=12)


def chunked(sizes: list[int]) -> list[dict[str, np.ndarray]]:
    bounds = np.cumsum([0, *sizes])
    values = np.arange(bounds[-1])
    return [
        {"x": np.stack([values[a:b], -values[a:b]], axis=1), "labels": values[a:b]}
        for a, b in pairwise(bounds)
    ]


@given(chunk_sizes, st.integers(1, 9), st.data())
def test_batches_hold_the_chosen_samples_in_order(
    sizes: list[int], batch_size: int, data: st.DataObject
) -> None:
    total = sum(sizes)
    chosen = data.draw(st.none() | st.sets(st.integers(0, max(total - 1, 0)), max_size=total))
    if chosen is not None and total == 0:
        chosen = set()
    indices = None if chosen is None else np.array(sorted(chosen), np.int64)
    wanted = np.arange(total) if indices is None else indices

    batches = list(regroup(chunked(sizes), indices, batch_size, "numbers"))

    lengths = [len(batch["x"]) for batch in batches]
    assert all(length == batch_size for length in lengths[:-1])
    assert all(0 < length <= batch_size for length in lengths)
    assert sum(lengths) == len(wanted)
    if batches:
        labels = np.concatenate([batch["labels"] for batch in batches])
        np.testing.assert_array_equal(labels, wanted)
        rows = np.concatenate([batch["x"] for batch in batches])
        np.testing.assert_array_equal(rows, np.stack([wanted, -wanted], axis=1))


@given(st.integers(1, 40), st.integers(1, 9), st.data())
def test_arrays_and_streams_give_the_same_batches(
    total: int, batch_size: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.none() | st.sets(st.integers(0, total - 1), min_size=1))
    indices = None if chosen is None else np.array(sorted(chosen), np.int64)
    values = {"x": np.arange(total * 3).reshape(total, 3)}
    array = ArraySource("array", values)
    stream = StreamSource("stream", lambda: iter([values]), total)
    for one, other in zip(
        array.read(indices, batch_size), stream.read(indices, batch_size), strict=True
    ):
        np.testing.assert_array_equal(one["x"], other["x"])


def test_samples_of_another_shape_start_a_new_batch() -> None:
    chunks = [{"x": np.zeros((2, 5))}, {"x": np.zeros((3, 5))}, {"x": np.zeros((2, 7))}]
    shapes = [batch["x"].shape for batch in regroup(chunks, None, 4, "ragged")]
    assert shapes == [(4, 5), (1, 5), (2, 7)]


def test_reading_stops_after_the_last_chosen_sample() -> None:
    read = []

    def chunks() -> Iterator[dict[str, np.ndarray]]:
        for position in range(100):
            read.append(position)
            yield {"x": np.full((2, 1), position)}

    list(regroup(chunks(), np.array([0, 3]), 8, "long"))
    assert read == [0, 1]


def test_a_stream_that_became_shorter_is_refused() -> None:
    with pytest.raises(DataError, match="ended after 2 samples, but had more"):
        list(regroup([{"x": np.zeros((2, 1))}], np.array([1, 2]), 8, "short"))


def test_a_shuffled_stream_is_refused() -> None:
    passes = iter([[1, 2], [2, 1]])
    stream = StreamSource("shuffled", lambda: iter([{"x": np.array([n])} for n in next(passes)]))
    with pytest.raises(DataError, match="other samples when it is read again"):
        list(stream.read(None, 1))


def test_batches_with_other_arrays_are_refused() -> None:
    chunks = [{"x": np.zeros((2, 1))}, {"x": np.zeros((2, 1)), "y": np.zeros((2, 1))}]
    with pytest.raises(
        DataError, match=r"mixed: from sample 2 on, the arrays are x, y instead of x"
    ):
        list(regroup(chunks, None, 4, "mixed"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "holds no arrays"),
        ({"x": np.zeros((0, 3))}, "holds no samples"),
        ({"x": np.float32(1)}, "'x' is a scalar"),
        ({"x": np.zeros((3, 2)), "labels": np.zeros(4)}, "'x' has 3 samples and 'labels' has 4"),
        ({"x": np.array([{}, 1], object)}, "'x' holds Python objects"),
        ({"x": np.zeros(3, [("a", "f4")])}, "'x' holds records"),
    ],
)
def test_arrays_that_are_no_samples(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArraySource("the data", {key: np.asarray(value) for key, value in arrays.items()})


def test_mapped_pages_are_let_go_after_each_batch() -> None:
    released = []
    source = ArraySource("mapped", {"x": np.arange(10)}, lambda: released.append(len(released)))
    for number, _ in enumerate(source.read(None, 4)):
        assert len(released) == number  # not while the batch is in use
    assert len(released) == 3
