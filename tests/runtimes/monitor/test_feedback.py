"""Labels that come later: which answers they judge, and how sure the metric is."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from runtimes.errors import DataError
from runtimes.monitor.feedback import Feedback, confidence_sequence
from runtimes.monitor.layout import ServedMetric

TOP1 = ServedMetric("top1", 0.9, higher_is_better=True)


def scores(*places: int) -> dict[str, Any]:
    return {"y": np.eye(4, dtype=np.float32)[list(places)]}


def test_labels_meet_the_answer_of_their_request() -> None:
    feedback = Feedback(TOP1)
    feedback.remember("a", scores(1))
    feedback.remember("b", scores(2, 3))
    feedback.label("b", [2, 0])
    feedback.label("a", 1)
    found = feedback.to_dict()
    assert found is not None
    assert (found["labels"], found["served"]) == (3, pytest.approx(2 / 3))
    assert found["low"] < 2 / 3 < found["high"]
    assert found["reported"] == 0.9
    assert found["waiting"] == 0


@pytest.mark.parametrize(
    ("request_id", "label", "message"),
    [
        ("z", 1, "no answer waits"),
        ("a", [1, 2], "1 samples, and there are labels for 2"),
        ("a", "1", "a label is a number"),
        ("a", math.nan, "NaN"),
        ("a", 17, "17"),
    ],
)
def test_what_cannot_be_a_label_changes_nothing(request_id: str, label: Any, message: str) -> None:
    feedback = Feedback(TOP1)
    feedback.remember("a", scores(1))
    with pytest.raises(DataError, match=message):
        feedback.label(request_id, label)
    assert feedback.count == 0
    feedback.label("a", 1)
    with pytest.raises(DataError, match="labelled already"):
        feedback.label("a", 1)


def test_no_more_answers_wait_than_there_is_room_for() -> None:
    feedback = Feedback(TOP1, most=3)
    for request in range(10):
        feedback.remember(str(request), scores(1))
    with pytest.raises(DataError):
        feedback.label("6", 1)
    feedback.label("7", 1)


def test_large_answers_are_bounded_by_their_bytes() -> None:
    feedback = Feedback(TOP1, most_bytes=1600)
    for request in range(1000):
        feedback.remember(str(request), {"y": np.zeros((1, 4), np.float32)})
    found = feedback.to_dict()
    assert found is not None
    assert found["waiting"] <= 100
    feedback.remember("large", {"y": np.zeros((1, 4000), np.float32)})
    with pytest.raises(DataError):
        feedback.label("large", 1)


def test_an_answer_is_kept_as_it_was() -> None:
    feedback, answer = Feedback(TOP1), scores(1)
    feedback.remember("a", answer)
    answer["y"][:] = 0
    feedback.label("a", 1)
    assert feedback.total == 1


def test_without_a_metric_labels_are_refused() -> None:
    feedback = Feedback(None)
    feedback.remember("a", scores(1))
    assert feedback.to_dict() is None
    with pytest.raises(DataError, match="labelled data"):
        feedback.label("a", 1)


@pytest.mark.parametrize("truth", [0.05, 0.3, 0.5, 0.95])
def test_the_interval_holds_the_truth_at_every_moment(truth: float) -> None:
    """Over all paths of twelve labels: the chance that some interval misses is 5% at most."""
    length, missed = 12, 0.0
    intervals = {
        (total, count): confidence_sequence(total, count)
        for count in range(1, length + 1)
        for total in range(count + 1)
    }
    for path in itertools.product((0, 1), repeat=length):
        sums = list(itertools.accumulate(path))
        inside = all(
            low <= truth <= high
            for count, total in enumerate(sums, start=1)
            for low, high in [intervals[total, count]]
        )
        ones = sums[-1]
        missed += 0.0 if inside else truth**ones * (1 - truth) ** (length - ones)
    assert missed <= 0.05


def test_more_labels_narrow_the_interval() -> None:
    widths = [
        high - low
        for count in (0, 10, 100, 1000)
        for low, high in [confidence_sequence(0.9 * count, count)]
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == 1
    assert widths[-1] < 0.08


def test_errors_without_bounds_have_the_usual_interval() -> None:
    feedback = Feedback(ServedMetric("mae", 0.2, higher_is_better=False))
    for request in range(50):
        feedback.remember(str(request), {"y": np.full((1, 1), request % 2, np.float32)})
        feedback.label(str(request), [[0.5]])
    found = feedback.to_dict()
    assert found is not None
    assert found["served"] == pytest.approx(0.5)
    assert found["low"] == pytest.approx(0.5)
    assert not found["always_valid"]
