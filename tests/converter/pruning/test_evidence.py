"""What several trials say of one: its loss by its error, and the margin that few samples need."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from converter.pruning.evidence import accepted, spent
from converter.pruning.report import TrainingReport, TriedReport
from converter.pruning.search.chain import Link
from converter.pruning.trials import Judged, Trial

MODEL = ir.Model(ir.Graph([], [], nodes=[]), ir_version=9)


def trial(
    error: float | None, loss: float | None, deviation: float = 0.5, *, passed: bool | None = None
) -> Trial:
    """A plan whose student is off by ``error`` and takes ``loss`` of the budget."""
    if passed is None:
        passed = loss is not None and loss <= 1
    training = None if error is None else TrainingReport(9, 9, 1.0, error, rounds=(9,))
    tried = TriedReport(1, 1, 0.5, None, None, passed, "")
    return Trial(Link({}, 0.5), MODEL, Judged(passed, "", loss, deviation), tried, training)


def test_a_lucky_plan_is_seen_through_by_its_error() -> None:
    others = [trial(0.05, 1.9), trial(0.06, 2.4), trial(0.08, 3.0)]
    lucky = trial(0.06, 0.2)
    assert accepted(lucky, [lucky])
    found = spent(lucky, [*others, lucky])
    assert found is not None
    assert found > 0.85
    assert not accepted(lucky, [*others, lucky])
    good = trial(0.02, 0.6)
    assert accepted(good, [*others, lucky, good])


def test_what_fails_is_never_accepted() -> None:
    others = [trial(0.05, 0.1), trial(0.06, 0.2)]
    assert not accepted(trial(0.05, 1.2), [*others, trial(0.05, 1.2)])


def test_large_errors_say_nothing_of_small_ones() -> None:
    good, ruin = trial(0.02, 0.4), trial(0.9, 80.0)
    assert spent(good, [good, ruin]) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(("deviation", "holds"), [(0.05, True), (0.12, False), (5.0, False)])
def test_few_samples_need_a_margin(deviation: float, holds: bool) -> None:
    one = trial(0.05, 0.9, deviation)
    assert accepted(one, [one]) == holds


def test_the_margin_is_never_the_whole_budget() -> None:
    one = trial(0.05, 0.0, 30.0)
    assert accepted(one, [one])


@pytest.mark.parametrize("loss", [None, 1.0])
def test_what_is_sure_is_taken_as_it_is(loss: float | None) -> None:
    one = trial(0.05, loss, 0.0, passed=True)
    assert accepted(one, [one, trial(0.05, 3.0)])
    untrained = trial(None, 0.5)
    assert spent(untrained, [untrained, trial(0.05, 3.0)]) == 0.5
