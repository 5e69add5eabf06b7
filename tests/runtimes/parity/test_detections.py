"""Detectors are judged by their confident detections, embeddings also by their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.parity.output_error import OutputParity, ParityAccumulator
from runtimes.parity.verdict import Rules, judge

RNG = np.random.default_rng(0)
N, ANCHORS, CLASSES = 20, 60, 5


def compared(reference: Any, candidate: Any) -> OutputParity:
    found = ParityAccumulator("y", "cpu")
    reference, candidate = np.float32(reference), np.float32(candidate)
    for start in range(0, len(reference), 8):
        rows = slice(start, start + 8)
        found.update(reference[rows], candidate[rows], np.arange(len(reference))[rows])
    return found.result()


def head(corners: bool = False) -> Any:
    """[N, anchors, 4 + classes]: boxes in pixels, scores all but zero beside three objects."""
    centers, sizes = RNG.uniform(40, 280, (N, ANCHORS, 2)), RNG.uniform(20, 60, (N, ANCHORS, 2))
    boxes = [centers - sizes / 2, centers + sizes / 2] if corners else [centers, sizes]
    scores = RNG.uniform(size=(N, ANCHORS, CLASSES)) * 1e-4
    for sample in range(N):
        for anchor in RNG.choice(ANCHORS, 3, replace=False):
            scores[sample, anchor, RNG.integers(CLASSES)] = RNG.uniform(0.5, 1)
    return np.concatenate([*boxes, scores], axis=2)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("corners", [False, True])
def test_noise_of_what_nobody_looks_at_does_not_count(first: bool, corners: bool) -> None:
    reference = head(corners)
    candidate = reference.copy()
    candidate[..., 4:] += RNG.uniform(size=candidate[..., 4:].shape) * 1e-2
    candidate[..., :4] += RNG.normal(size=candidate[..., :4].shape)
    if first:
        reference, candidate = reference.transpose(0, 2, 1), candidate.transpose(0, 2, 1)
    found = compared(reference, candidate)
    assert (found.kind, found.agreement) == ("detections", 1.0)
    assert found.sqnr_db is not None
    assert 25 < found.sqnr_db < 45
    passed, reason = judge([found], [], Rules(min_agreement=0.99, min_sqnr=20), quantized=True)
    assert passed
    assert reason.startswith("y: detections found again 100.00% ≥ 99.00%, SQNR")


def test_what_is_lost_moved_or_of_another_class_is_not_found() -> None:
    reference = head()
    sure = reference[..., 4:].max(axis=2) > 0.5
    lost = reference.copy()
    lost[: N // 4, :, 4:] *= 0.1
    assert compared(reference, lost).agreement == pytest.approx(0.75)
    moved = reference.copy()
    moved[..., 0] += 70
    assert compared(reference, moved).agreement < 0.2
    other = reference.copy()
    other[..., 4:] = np.roll(other[..., 4:], 1, axis=2)
    assert compared(reference, other).agreement == 0
    # What the reference does not see is as wrong.
    more = reference.copy()
    more[..., 4] = np.where(sure, more[..., 4], 0.9)
    assert compared(reference, more).agreement < 0.2


def test_a_head_that_knows_no_class_fails_by_its_noise_alone() -> None:
    reference = head()
    zero = reference.copy()
    zero[..., 4:] = 1e-4
    found = compared(reference, zero)
    assert found.sqnr_db == pytest.approx(0, abs=0.1)
    assert not judge([found], [], Rules(min_sqnr=20), quantized=False)[0]


def test_detections_after_suppression_may_come_in_another_order() -> None:
    reference = np.zeros((N, 8, 6))
    reference[..., :2] = RNG.uniform(0, 250, (N, 8, 2))
    reference[..., 2:4] = reference[..., :2] + RNG.uniform(20, 60, (N, 8, 2))
    reference[..., 4] = RNG.uniform(0.3, 1, (N, 8))
    reference[..., 5] = RNG.integers(0, 9, (N, 8))
    reference[:, 6:] = -1  # padding
    candidate = reference[:, [3, 1, 0, 2, 5, 4, 6, 7]] + 0.0
    candidate[..., :4] += RNG.normal(size=(N, 8, 4)) * 0.2
    found = compared(reference, candidate)
    assert (found.kind, found.agreement) == ("detections", 1.0)
    assert found.sqnr_db is not None
    assert found.sqnr_db > 40


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=(N, 30, 9)) * 50,  # no scores
        RNG.uniform(size=(N, 30, 9)),  # no boxes
        np.concatenate([RNG.normal(size=(N, 30, 4)) * 50, RNG.uniform(size=(N, 30, 3))], 2),
    ],
)
def test_other_outputs_are_no_detections(values: Any) -> None:
    assert compared(values, values).kind != "detections"


def test_scores_stay_quantities_where_boxes_are_no_boxes() -> None:
    """Negative coordinates let a tiny score be the largest, which makes no answer of it."""
    boxes, scores = RNG.normal(size=(N, 30, 4)) * 50, RNG.uniform(size=(N, 30, 3)) * 1e-3
    reference = np.concatenate([boxes, scores], axis=2)
    zeroed = reference * (np.arange(7) < 4)
    found = compared(reference, zeroed)
    assert (found.kind, found.agreement) == ("quantities", None)
    assert found.sqnr_db == pytest.approx(0, abs=1e-6)


def test_embeddings_turn_little_and_keep_their_neighbours() -> None:
    vectors = RNG.normal(size=(100, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = compared(vectors, vectors + RNG.normal(size=vectors.shape) * 1e-4)
    assert found.neighbours is not None
    assert found.neighbours[0] == pytest.approx(1, abs=1e-5)
    assert found.neighbours[1] > 0.95
    shuffled = compared(vectors, RNG.permutation(vectors))
    assert shuffled.neighbours is not None
    assert shuffled.neighbours[1] < 0.1
    _, reason = judge([found], [], Rules(min_sqnr=20), quantized=True)
    assert "cosine 1.0000, nearest neighbour the same for" in reason
