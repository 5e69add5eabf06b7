"""Streaming statistics: they merge, and refuse what has no place on a grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantizers.calibration.observers import ChannelMeanObserver, MinMaxObserver, Range
from runtimes import DataError

floats = st.floats(-(2.0**100), 2.0**100, width=32)
batches = st.lists(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=floats), min_size=1
)


@given(batches, st.data())
def test_two_merged_halves_are_the_whole(arrays: list[np.ndarray], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(arrays)))
    whole, first, second = MinMaxObserver(), MinMaxObserver(), MinMaxObserver()
    for index, array in enumerate(arrays):
        whole.update(array)
        (first if index < cut else second).update(array)
    assert first.merge(second).range() == second.merge(first).range() == whole.range()
    everything = np.concatenate([array.reshape(-1) for array in arrays])
    assert whole.range() == Range(float(everything.min()), float(everything.max()))


@given(hnp.arrays(np.float32, (6, 3, 4), elements=st.floats(-100, 100, width=32)))
def test_channel_means_merge(array: np.ndarray) -> None:
    first, second = ChannelMeanObserver(1), ChannelMeanObserver(1)
    first.update(array[:2])
    second.update(array[2:])
    expected = array.astype(np.float64).mean(axis=(0, 2))
    np.testing.assert_allclose(first.merge(second).mean(), expected, atol=1e-6)


def test_the_last_axis_can_be_the_channel() -> None:
    observer = ChannelMeanObserver(-1)
    observer.update(np.float32([[[1, 2], [3, 4]]]))
    observer.update(np.float32([[5, 6]]))
    np.testing.assert_array_equal(observer.mean(), [3, 4])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, np.nan, 2], "1 NaN of 3 values"),
        ([np.inf, -np.inf], "2 infinite of 2 values"),
        ([np.nan, np.inf, 0], "1 NaN and 1 infinite of 3 values"),
    ],
)
def test_what_is_not_finite_is_counted(values: list[float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        MinMaxObserver().update(np.float32(values))


def test_nothing_seen_is_an_error() -> None:
    observer = MinMaxObserver()
    observer.update(np.empty((0, 3), np.float32))
    with pytest.raises(DataError, match="at least one sample"):
        observer.range()
    means = ChannelMeanObserver(1)
    means.update(np.empty((2, 3, 0), np.float32))
    with pytest.raises(DataError, match="at least one sample"):
        means.mean()
