"""Casts that keep values, and those that do not."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.base import TensorSpec
from runtimes.data.binding import check_array, check_finite, convert
from runtimes.errors import DataError

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float16", "float32", "float64"]


def spec(dtype: Any, shape: tuple[int | str | None, ...] = (None, 2)) -> TensorSpec:
    return TensorSpec("x", np.dtype(dtype), shape)


@given(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS + FLOATS), st.integers(0, 5), st.data())
def test_integers_are_converted_exactly_or_not_at_all(
    source: str, target: str, place: int, data: st.DataObject
) -> None:
    info = np.iinfo(source)
    value = data.draw(st.integers(int(info.min), int(info.max)))
    values = np.zeros((6, 2), source)
    values[place, 1] = value
    indices = np.arange(100, 106)
    if target in FLOATS:
        limit = 2 ** (np.finfo(target).nmant + 1)
        fits = abs(value) <= limit
    else:
        fits = np.iinfo(target).min <= value <= np.iinfo(target).max
    if fits:
        converted = convert(values, np.dtype(target), "x", indices, "data")
        assert converted.dtype == target
        assert int(converted[place, 1]) == value
    else:
        with pytest.raises(DataError, match=f"'x' holds {value} at sample {100 + place}, which"):
            convert(values, np.dtype(target), "x", indices, "data")


def test_overflow_of_a_float_is_refused_and_rounding_is_not() -> None:
    indices = np.arange(2)
    rounded = convert(np.array([0.1, 1e30]), np.dtype("float32"), "x", indices, "data")
    np.testing.assert_array_equal(rounded, np.float32([0.1, 1e30]))
    with pytest.raises(DataError, match=r"'x' holds 1e\+39 at sample 1, which float32 cannot"):
        convert(np.array([0.1, 1e39]), np.dtype("float32"), "x", indices, "data")
    with pytest.raises(DataError, match="bfloat16 cannot hold"):
        convert(np.array([0.1, 1e39]), np.dtype(ml_dtypes.bfloat16), "x", indices, "data")
    wide = convert(np.float16([0.5, 2]), np.dtype("float64"), "x", indices, "data")
    assert wide.dtype == np.float64


def test_truth_values_become_numbers() -> None:
    for target in ("float32", "int32"):
        converted = convert(np.array([True, False]), np.dtype(target), "x", np.arange(2), "data")
        assert converted.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("found", "wanted", "allowed"),
    [
        ("int64", "int32", True),
        ("float64", "float32", True),
        ("uint8", "float32", True),
        ("bool", "float32", True),
        (">f4", "float32", True),
        (ml_dtypes.bfloat16, "float32", True),
        ("<U3", object, True),
        ("float32", "int32", False),
        ("float32", "bool", False),
        ("int32", "bool", False),
        ("float32", object, False),
        ("<U3", "float32", False),
        ("complex64", "float32", False),
    ],
)
def test_which_dtypes_fit(found: Any, wanted: Any, allowed: bool) -> None:
    array = TensorSpec("pixels", np.dtype(found), (None, 2))
    if allowed:
        check_array(array, spec(wanted), "data")
    else:
        with pytest.raises(DataError, match=r"data: the input 'x' expects .*, found .*'pixels'"):
            check_array(array, spec(wanted), "data")


def test_dynamic_dimensions_take_any_size_and_static_ones_only_theirs() -> None:
    array = TensorSpec("x", np.dtype("float32"), (None, 3, 5))
    for shape in [(None, 3, 5), (1, "height", None), ("n", None, 5)]:
        check_array(array, spec("float32", shape), "data")
    check_array(array, TensorSpec("x", np.dtype("float32"), None), "data")
    with pytest.raises(DataError, match=r"expects samples of shape \[height, 4\], found \[3, 5\]"):
        check_array(array, spec("float32", (None, "height", 4)), "data")


@pytest.mark.parametrize("dtype", ["float16", "float32", ml_dtypes.bfloat16])
def test_the_first_value_that_is_not_finite_is_named(dtype: Any) -> None:
    values = np.ones((3, 2, 2), dtype)
    check_finite(values, "x", np.arange(3), "data")
    values[1, 0, 1] = np.inf
    values[2, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"data: the array 'x' holds infinity at sample 11"):
        check_finite(values, "x", np.arange(10, 13), "data")
