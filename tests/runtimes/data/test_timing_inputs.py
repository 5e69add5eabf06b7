"""Inputs to time a model with."""

import numpy as np
import pytest

from runtimes import DataError, Dataset, TensorSpec
from runtimes.data.timing_inputs import made_up_inputs, sampled_inputs


def spec(name: str, dtype: str, *shape: int | str | None) -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), shape)


def test_made_up_inputs_fit_and_repeat() -> None:
    inputs = [
        spec("image", "float32", "batch", 8, 8, 3),
        spec("ids", "int32", None, "length"),
        spec("mask", "bool", "batch", None),
        spec("fixed", "float16", 2, 3),
    ]
    made = made_up_inputs(inputs, 5)
    assert {name: value.shape for name, value in made.feed.items()} == {
        "image": (5, 8, 8, 3),
        "ids": (5, 1),
        "mask": (5, 1),
        "fixed": (2, 3),
    }
    assert all(made.feed[one.name].dtype == one.dtype for one in inputs)
    assert set(np.unique(made.feed["ids"])) <= {0, 1}
    assert made.notes[0].startswith("ids: the dynamic dimensions length were set to 1; give data")
    assert made.notes[1].startswith("mask: the dynamic dimensions ? were set to 1")
    again = made_up_inputs(inputs, 5)
    np.testing.assert_array_equal(made.feed["image"], again.feed["image"])
    other = made_up_inputs(inputs, 5, seed=1)
    assert (made.feed["image"] != other.feed["image"]).any()


@pytest.mark.parametrize(
    "bad", [TensorSpec("x", np.dtype("float32"), None), spec("words", "O", "batch")]
)
def test_what_cannot_be_made_up(bad: TensorSpec) -> None:
    with pytest.raises(DataError, match="cannot be made up; give some with data"):
        made_up_inputs([bad], 1)


def test_samples_are_repeated_where_there_are_too_few() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    inputs = [spec("x", "float32", "batch", 2)]
    enough = sampled_inputs(Dataset.open(x), inputs, 2)
    np.testing.assert_array_equal(enough.feed["x"], x[:2])
    assert enough.notes == ()
    few = sampled_inputs(Dataset.open(x), inputs, 7)
    np.testing.assert_array_equal(few.feed["x"], x[[0, 1, 2, 0, 1, 2, 0]])
    assert few.notes == ("batch 7: 3 samples were repeated",)
