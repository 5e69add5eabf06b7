"""Scores of samples, and labels that cannot be labels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtimes.errors import DataError
from runtimes.metrics import scores

AT = np.arange(100, 200)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, min_side=6, max_side=8),
               elements=st.integers(-3, 3)),
    st.data(),
)  # fmt: skip
def test_top_k_is_the_place_in_a_stable_descending_order(
    output: np.ndarray, data: st.DataObject
) -> None:
    labels = data.draw(
        hnp.arrays(np.int64, output.shape[:-1], elements=st.integers(0, output.shape[-1] - 1))
    )
    order = np.argsort(-output, axis=-1, kind="stable")
    for count, score in ((1, scores.top1_correct), (5, scores.top5_correct)):
        among = (order[..., :count] == labels[..., None]).any(axis=-1)
        expected = among.reshape(len(output), -1).mean(axis=1)
        np.testing.assert_allclose(score(output, labels, AT), expected)
    np.testing.assert_array_equal(
        scores.top1_correct(output, labels, AT) == 1,
        (output.argmax(-1) == labels).reshape(len(output), -1).all(axis=1),
    )


def test_one_hot_and_column_labels_are_indices_too() -> None:
    output = np.float32([[1, 2, 0], [5, 1, 1]])
    for labels in ([1, 0], [[1], [0]], [[0, 1, 0], [1, 0, 0]], [1.0, 0.0], np.uint8([1, 0])):
        assert scores.top1_correct(output, np.asarray(labels), AT).tolist() == [1, 1]


def test_nan_is_never_right() -> None:
    output = np.full((2, 6), np.nan, np.float32)
    assert scores.top1_correct(output, np.array([0, 1]), AT).tolist() == [0, 0]
    assert scores.top5_correct(output, np.array([0, 1]), AT).tolist() == [0, 0]


def test_binary_scores() -> None:
    for labels in ([0, 1, 1], [[0], [1], [1]], [False, True, True], [0.0, 1.0, 1.0]):
        right = scores.binary_correct(np.float32([[0.2], [0.9], [0.4]]), np.asarray(labels), AT)
        assert right.tolist() == [1, 1, 0]
        logits = np.float32([[-2], [0.1], [-0.1]])
        right = scores.binary_correct_logits(logits, np.asarray(labels), AT)
        assert right.tolist() == [1, 1, 0]
    multilabel = scores.binary_correct(np.float32([[0.1, 0.9]]), np.array([[0, 0]]), AT)
    assert multilabel.tolist() == [0.5]


def test_errors_are_means_over_a_sample() -> None:
    output, labels = np.float32([[1, 2], [3, 4]]), np.array([[1, 4], [3, 4]])
    assert scores.absolute_error(output, labels, AT).tolist() == [1, 0]
    assert scores.squared_error(output, labels, AT).tolist() == [2, 0]
    assert scores.absolute_error(np.float32([[1], [2]]), np.array([1, 4]), AT).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("score", "output", "labels", "message"),
    [
        (scores.top1_correct, np.zeros((2, 3)), [1, 3], "sample 101 is 3, but .* from 0 to 2"),
        (scores.top1_correct, np.zeros((2, 3)), [-1, 0], "sample 100 is -1"),
        (scores.top1_correct, np.zeros((2, 3)), [0, 0.5], "sample 101 is 0.5"),
        (scores.top1_correct, np.zeros((2, 3)), [[1, 2]] * 2, r"\[2, 2\] do not fit the output"),
        (scores.top1_correct, np.zeros((2, 1)), [0, 1], "has no classes.*use binary_accuracy"),
        (scores.top5_correct, np.zeros((2, 5)), [0, 1], "top5 of 5 classes is always right"),
        (scores.binary_correct, np.zeros((2, 1)), [0, 2], "sample 101 is 2, but must be 0 or 1"),
        (scores.binary_correct, np.full((2, 1), 1.5), [0, 1], "holds 1.5; for logits use"),
        (scores.binary_correct, np.full((2, 1), -3), [0, 1], "holds -3; for logits use"),
        (scores.absolute_error, np.zeros((2, 3)), [0, 1], r"\[2\] do not fit the output \[2, 3\]"),
    ],
)
def test_labels_that_do_not_fit(score: Any, output: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(output.astype(np.float32), np.asarray(labels), AT)


@pytest.mark.parametrize("one_hot", [False, True])
def test_classes_of_a_map_may_come_first(one_hot: bool) -> None:
    output = np.random.default_rng(0).normal(size=(6, 4, 5, 7))
    labels = np.random.default_rng(1).integers(0, 4, (6, 5, 7))
    expected = (output.argmax(1) == labels).mean(axis=(1, 2))
    given_labels = np.moveaxis(np.eye(4)[labels], -1, 1) if one_hot else labels
    np.testing.assert_allclose(scores.top1_correct(output, given_labels, AT[:6]), expected)
    last = np.moveaxis(output, 1, -1)
    given_labels = np.eye(4)[labels] if one_hot else labels[..., None]
    np.testing.assert_allclose(scores.top1_correct(last, given_labels, AT[:6]), expected)


def test_labels_of_two_classes_may_be_booleans_or_signs() -> None:
    output = np.float32([[-2], [3], [1]])
    for labels in ([False, True, True], [-1, 1, 1], [[0.0], [1.0], [1.0]]):
        found = scores.binary_correct_logits(output, np.asarray(labels), AT[:3])
        assert found.tolist() == [1, 1, 1]
    two = np.float32([[2, 1], [0, 1], [0, 1]])
    assert scores.top1_correct(two, np.array([False, True, False]), AT[:3]).tolist() == [1, 1, 0]
