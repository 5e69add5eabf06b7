"""Windows are what a convolution multiplies its kernel with."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.onnx_graph.windows import places_of, rows_of, windows

AXES = st.lists(
    st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    min_size=1,
    max_size=2,
)


@given(axes=AXES)
def test_each_window_holds_what_the_definition_says(axes: list[tuple[int, int, int, int]]) -> None:
    sizes, kernel, strides, dilations = zip(*axes, strict=True)
    data = np.random.default_rng(0).normal(size=(2, 3, *sizes))
    found = windows(data, kernel, strides, dilations)
    places = places_of(sizes, kernel, strides, dilations)
    assert found.shape == (2, 3, *places, *kernel)
    for place in itertools.product(*map(range, places)):
        for tap in itertools.product(*map(range, kernel)):
            at = [p * s + t * d for p, s, t, d in zip(place, strides, tap, dilations, strict=True)]
            np.testing.assert_array_equal(found[:, :, *place, *tap], data[:, :, *at])


def test_rows_times_kernel_are_the_convolution() -> None:
    rng = np.random.default_rng(1)
    data, weight = rng.normal(size=(2, 4, 5)), rng.normal(size=(6, 2, 3))
    views = windows(data, (3,), (2,), (1,))
    rows = rows_of(views, np.arange(4), 2, 1)
    assert rows.shape == (2, 4, 6)
    for group, (sample, place) in itertools.product(range(2), np.ndindex(2, 2)):
        for output in range(3):
            channels = data[sample, 2 * group : 2 * group + 2, 2 * place : 2 * place + 3]
            expected = (channels * weight[3 * group + output]).sum()
            got = rows[group, 2 * sample + place] @ weight[3 * group + output].reshape(-1)
            assert got == pytest.approx(expected)
