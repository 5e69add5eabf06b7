"""An argmax counts only where values compete for one answer; small columns are not hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.parity.output_error import OutputParity, ParityAccumulator

RNG = np.random.default_rng(0)


def compared(reference: Any, candidate: Any) -> OutputParity:
    found = ParityAccumulator("y", "cpu")
    reference, candidate = np.float32(reference), np.float32(candidate)
    for start in range(0, len(reference), 16):
        rows = slice(start, start + 16)
        found.update(reference[rows], candidate[rows], np.arange(len(reference))[rows])
    return found.result()


def softmax(values: Any, axis: int) -> Any:
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize(("shape", "axis"), [((40, 5), 1), ((40, 6, 5), 2), ((40, 5, 8, 8), 1)])
def test_probabilities_are_found_on_either_axis(shape: tuple[int, ...], axis: int) -> None:
    reference = softmax(RNG.normal(size=shape), axis)
    found = compared(reference, np.roll(reference, 1, axis))
    assert (found.kind, found.distribution, found.agreement) == ("probabilities", True, 0.0)
    assert compared(reference, reference).agreement == 1.0


def test_logits_of_classes_agree_by_their_argmax() -> None:
    logits = RNG.normal(size=(50, 10), scale=4)
    found = compared(logits, -logits)
    assert (found.kind, found.agreement) == ("classes", 0.0)


def test_maps_of_channels_first_logits_compete_along_the_channels() -> None:
    logits = RNG.normal(size=(20, 6, 12, 12), scale=4)
    noisy = logits + RNG.normal(size=logits.shape, scale=1e-4)
    found = compared(logits, noisy)
    assert found.kind == "classes"
    assert found.agreement == pytest.approx(1.0, abs=1e-3)
    assert compared(logits, logits[:, ::-1]).agreement < 0.3


def test_pictures_have_no_classes() -> None:
    picture = RNG.uniform(size=(8, 16, 16, 3))
    found = compared(picture, picture + 1e-3)
    assert (found.kind, found.agreement) == ("values", None)


def test_an_embedding_is_not_judged_by_its_largest_coordinate() -> None:
    vectors = RNG.normal(size=(64, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = compared(vectors, vectors + RNG.normal(size=vectors.shape, scale=0.01))
    assert (found.kind, found.agreement) == ("embedding", None)
    assert found.sqnr_db > 20


def test_scores_next_to_boxes_are_not_hidden_by_them() -> None:
    boxes = RNG.uniform(10, 320, size=(30, 4, 100))
    scores = RNG.uniform(size=(30, 8, 100)) ** 8
    reference = np.concatenate([boxes, scores], axis=1)
    zeroed = reference * np.where(np.arange(12) < 4, 1, 0)[:, None]
    found = compared(reference, zeroed)
    assert (found.kind, found.agreement) == ("detections", 0.0)
    assert found.sqnr_db == pytest.approx(0.0, abs=1e-6)
    assert compared(reference, reference * 1.001).sqnr_db == pytest.approx(60, abs=0.1)


def test_columns_of_a_regression_are_judged_apart() -> None:
    reference = np.stack([RNG.normal(1000, 50, 200), RNG.normal(0, 1, 200)], axis=1)
    found = compared(reference, reference * [1.0, 0.5])
    assert found.kind == "quantities"
    assert found.sqnr_db == pytest.approx(6.02, abs=0.01)


def test_a_small_class_that_wins_is_a_class() -> None:
    logits = np.stack([RNG.normal(size=300, scale=8), RNG.normal(size=300, scale=0.1)], axis=1)
    found = compared(logits, logits)
    assert (found.kind, found.agreement) == ("classes", 1.0)


def test_independent_scores_count_where_there_is_one() -> None:
    scores = RNG.uniform(size=(20, 200, 6)) * 1e-4
    scores[:, :3, 2] = 0.9
    noisy = scores + RNG.uniform(size=scores.shape) * 1e-4
    found = compared(scores, noisy)
    assert (found.kind, found.agreement) == ("scores", 1.0)
    assert compared(scores[:, 3:], noisy[:, 3:]).agreement is None


def test_an_axis_of_changing_length_has_no_columns() -> None:
    found = ParityAccumulator("y", "cpu")
    for length in (5, 7):
        values = np.float32(RNG.normal(size=(4, length, 3)))
        found.update(values, values, np.arange(4))
    assert (found.result().kind, found.result().agreement) == ("classes", 1.0)
