"""Errors of an output, accumulated."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.parity import output_error as parity
from runtimes.parity.output_error import OutputParity, ParityAccumulator


def accumulate(reference: Any, candidate: Any, batch: int = 4, **options: float) -> OutputParity:
    accumulator = ParityAccumulator("y", "cpu", **options)
    reference, candidate = np.asarray(reference), np.asarray(candidate)
    for start in range(0, len(reference), batch):
        rows = slice(start, start + batch)
        accumulator.update(reference[rows], candidate[rows], np.arange(len(reference))[rows])
    return accumulator.result()


@given(st.integers(1, 25), st.integers(1, 25), st.integers(0, 99))
def test_numbers_are_those_of_the_whole(count: int, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((count, 3, 5)).astype(np.float32)
    candidate = reference + rng.standard_normal((count, 3, 5)).astype(np.float32) * 0.1
    found = accumulate(reference, candidate, batch, rtol=0.1, atol=0.05)

    wide, error = reference.astype(np.float64), np.abs(candidate.astype(np.float64) - reference)
    assert found.elements == reference.size
    assert found.max_abs_error == pytest.approx(error.max())
    assert found.mean_abs_error == pytest.approx(error.mean())
    peaks = np.abs(wide).max(axis=(1, 2))
    assert found.max_relative_error == pytest.approx((error.max(axis=(1, 2)) / peaks).max())
    assert found.reference_peak == pytest.approx(peaks.max())
    expected = 10 * np.log10((wide**2).sum() / (error**2).sum())
    assert found.sqnr_db == pytest.approx(expected)
    assert found.agreement == (reference.argmax(-1) == candidate.argmax(-1)).mean()
    assert found.outside == (error > 0.05 + 0.1 * np.abs(wide)).sum()
    assert error[found.worst_sample].max() == error.max()
    assert found.problem is None


def test_large_outputs_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((20, 30)).astype(np.float32)
    candidate = reference + rng.standard_normal((20, 30)).astype(np.float32)
    whole = accumulate(reference, candidate, 20, rtol=1)
    for elements in (1, 70, 10**6):
        monkeypatch.setattr(parity, "_CHUNK_ELEMENTS", elements)
        found = accumulate(reference, candidate, 20, rtol=1)
        assert found.sqnr_db == pytest.approx(whole.sqnr_db)
        assert found.mean_abs_error == pytest.approx(whole.mean_abs_error)
        exact = ("elements", "max_abs_error", "agreement", "worst_sample", "outside")
        assert all(getattr(found, name) == getattr(whole, name) for name in exact)


def test_elements_outside_are_counted_only_against_a_tolerance() -> None:
    reference, candidate = np.ones((3, 2)), np.full((3, 2), 1.5)
    assert accumulate(reference, candidate).outside is None
    assert accumulate(reference, candidate, atol=0.4).outside == 6
    assert accumulate(reference, candidate, rtol=0.0).outside == 6
    assert accumulate(reference, candidate, rtol=0.5).outside == 0


def test_identical_outputs() -> None:
    found = accumulate(np.ones((3, 2)), np.ones((3, 2)))
    assert (found.max_abs_error, found.max_relative_error, found.sqnr_db) == (0, 0, math.inf)
    assert found.agreement == 1
    zeros = accumulate(np.zeros((3, 2)), np.zeros((3, 2)))
    assert (zeros.max_relative_error, zeros.sqnr_db) == (0, math.inf)
    against_zero = accumulate(np.zeros((3, 2)), np.ones((3, 2)))
    assert (against_zero.max_relative_error, against_zero.sqnr_db) == (math.inf, -math.inf)


def test_agreement_means_something_for_classes_only() -> None:
    assert accumulate(np.ones((3, 1)), np.ones((3, 1))).agreement is None
    assert accumulate(np.ones(3), np.ones(3)).agreement is None
    integers = accumulate(np.arange(4), np.array([0, 1, 2, 5]))
    assert (integers.agreement, integers.sqnr_db, integers.max_abs_error) == (0.75, None, 2)
    texts = accumulate(np.array(["a", "b"], object), np.array(["a", "c"], object))
    assert (texts.agreement, texts.sqnr_db, texts.elements) == (0.5, None, 0)


def test_distributions_are_told_from_other_outputs() -> None:
    probabilities = np.float32([[0.2, 0.8], [0.5, 0.5]])
    assert accumulate(probabilities, probabilities).distribution
    assert not accumulate(probabilities * 2, probabilities).distribution
    assert not accumulate(np.float32([[-0.5, 1.5]]), probabilities[:1]).distribution


def test_equal_infinities_are_no_error() -> None:
    reference = np.float32([[1, -np.inf], [2, 3]])
    found = accumulate(reference, reference + np.float32([[0.5, 0], [0, 0]]))
    assert found.problem is None
    assert (found.max_abs_error, found.reference_peak) == (0.5, 3)


@pytest.mark.parametrize(
    ("reference", "candidate", "problem"),
    [
        ([1, 2, 3], [1, np.nan, 3], r"NaN at sample 1, element []"),
        ([[1, 2]], [[1, np.inf]], r"infinity at sample 0, element [1]"),
        ([[1, np.inf]], [[1, 2]], r"no infinity where the reference has one at sample 0"),
        ([[1, np.nan]], [[1, 2]], r"the reference gives NaN at sample 0, element [1]"),
        ([[1, 2]], [[1, 2, 3]], "shape [1, 3] instead of [1, 2] from sample 0 on"),
    ],
)
def test_what_cannot_be_compared_has_a_place(reference: Any, candidate: Any, problem: str) -> None:
    found = accumulate(np.float32(reference), np.float32(candidate))
    assert found.problem is not None
    assert found.problem.startswith(problem)


def test_another_dtype_is_a_problem() -> None:
    found = accumulate(np.ones((2, 2), np.float32), np.ones((2, 2), np.float64))
    assert found.problem == "dtype float64 instead of float32"
    assert math.isnan(found.max_abs_error)


def test_the_first_problem_stays_and_later_batches_still_count() -> None:
    reference = np.ones((4, 2), np.float32)
    candidate = reference.copy()
    candidate[0, 0] = candidate[1, 1] = np.nan
    found = accumulate(reference, candidate, batch=1)
    assert found.problem == "NaN at sample 0, element [0]"
    assert found.elements == 4


def test_an_output_without_samples_is_a_problem() -> None:
    accumulator = ParityAccumulator("y", "cpu")
    accumulator.update(np.ones(5, np.float32), np.ones(5, np.float32), np.arange(2))
    assert "no axis for samples" in str(accumulator.result().problem)
