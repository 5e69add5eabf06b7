"""Steps that spend too much give way: to a milder form of themselves, or of what went before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.compression.attempts import Candidate, run_steps
from converter.compression.gain import Gain
from converter.compression.steps import Outcome
from converter.report.report import Measured
from runtimes.errors import BudgetError, ModelError
from runtimes.onnx_files.load_save import write_model
from runtimes.options import RunOptions


def model(spent: float = 0.0, time: float = 1.0) -> ir.Model:
    """A model that says of itself what it loses and how long it takes."""
    x = ir.val("x", ir.DataType.FLOAT, ["N", 2])
    node = ir.node("Identity", [x], name="identity")
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), x.shape
    graph = ir.Graph([x], [y], nodes=[node], opset_imports={"": 18}, name="g")
    made = ir.Model(graph, ir_version=9)
    made.metadata_props.update(spent=str(spent), time=str(time))
    return made


def says(path: Path | ir.Model, what: str) -> float:
    found = path if isinstance(path, ir.Model) else ir.load(path)
    return float(found.metadata_props[what])


class JudgeOfWhatModelsSay:
    """Allows a loss of 1."""

    prefer = "balanced"

    def __init__(self) -> None:
        self.raced: list[float] = []

    def parity(self, path: Path) -> Any:
        spent = says(path, "spent")
        return SimpleNamespace(passed=spent <= 1.0, reason=f"spent {spent:g}", stress=None)

    def spent(self, parity: Any) -> float:
        return float(parity.reason.removeprefix("spent "))

    def measure(self, path: Path, parity: Any, best: Measured) -> Measured:
        self.raced.append(says(path, "time"))
        return self.predict(path, parity, best)

    def predict(self, path: Path, parity: Any, best: Measured) -> Measured:
        spent = says(path, "spent")
        return Measured(100, says(path, "time"), None, sqnr_db=-10 * math.log10(spent or 1e-9))

    def gain(self, path: Path, than: Path) -> Gain:
        one, other = says(path, "time"), says(than, "time")
        return Gain(1.0, ((1, other / one),), one < other, one > other)


def spends(
    loss: float, faster: float, less_aggressive: Outcome | None = None
) -> Callable[..., Outcome]:
    """A step that adds a loss and divides the time."""

    def step(before: ir.Model, context: Any) -> Outcome:
        made = model(says(before, "spent") + loss, says(before, "time") / faster)
        return Outcome(
            made, f"lost {loss:g}", {}, None if less_aggressive is None else lambda: less_aggressive
        )

    return step


def run(tmp_path: Path, replay: Any = None, **steps: Any) -> tuple[ir.Model, Any]:
    best, reports = run_all(tmp_path, replay, **steps)
    assert says(best.path, "time") == says(best.model, "time") == best.measured.latency_ms
    return best.model, reports


@dataclass(frozen=True)
class Context:
    """What the steps of these tests ask of theirs."""

    run: RunOptions = RunOptions()  # frozen
    trained: bool = False


def run_all(
    tmp_path: Path, replay: Any = None, judge: Any = None, **steps: Any
) -> tuple[Candidate, Any]:
    first = model()
    write_model(first, tmp_path / "fp32.onnx")
    begin = Candidate(first, tmp_path / "fp32.onnx", Measured(100, 1.0, None))
    context: Any = Context()
    judge = judge or JudgeOfWhatModelsSay()
    return run_steps(steps, context, begin, judge, replay)


MILD = Outcome(model(0.5, 0.5), "lost 0.5")


def test_steps_that_fit_are_all_kept(tmp_path: Path) -> None:
    best, reports = run(tmp_path, prune=spends(0.8, 4, MILD), quantize=spends(0.1, 2))
    assert [one.kept for one in reports] == [True, True]
    assert says(best, "time") == 1 / 8


def test_a_step_outside_the_budget_is_tried_milder(tmp_path: Path) -> None:
    best, reports = run(tmp_path, prune=spends(1.2, 4, MILD), quantize=spends(0.1, 2))
    assert [one.kept for one in reports] == [True, True]
    assert says(best, "spent") == pytest.approx(0.6)
    assert "lost 0.5" in reports[0].reason
    assert "outside the budget: spent 1.2" in reports[0].reason


def test_only_what_is_inside_the_budget_and_worth_it_races(tmp_path: Path) -> None:
    judge = JudgeOfWhatModelsSay()
    steps = {"prune": spends(1.2, 4, MILD), "quantize": spends(0.1, 0.5), "weights": spends(0, 5)}
    best, reports = run_all(tmp_path, None, judge, **steps)
    assert [one.kept for one in reports] == [True, False, True]
    assert judge.raced == [0.5, 0.1]  # neither the step outside the budget nor the slower one
    assert best.measured.latency_ms == 0.1


def test_ever_milder(tmp_path: Path) -> None:
    still_too_much = Outcome(model(1.1, 0.3), "lost 1.1", {}, lambda: MILD)
    best, (report,) = run(tmp_path, prune=spends(1.2, 4, still_too_much))
    assert report.kept
    assert says(best, "spent") == 0.5
    assert "spent 1.2" in report.reason


def test_once_something_holds_what_lies_between_is_tried(tmp_path: Path) -> None:
    asked: list[float] = []

    def between(held: float, refused: float) -> Outcome | None:
        spent = (held + refused) / 2
        if refused - held < 0.1:
            return None
        asked.append(spent)
        fewer, more = partial(between, held, spent), partial(between, spent, refused)
        return Outcome(model(spent, 1 - spent / 2), f"lost {spent:g}", {}, fewer, more)

    mild = replace(MILD, between=partial(between, 0.5, 1.3))
    best, (report,) = run(tmp_path, prune=spends(1.3, 4, mild))
    assert asked == pytest.approx([0.9, 1.1, 1.0, 1.05])
    assert says(best, "spent") == pytest.approx(1.0)
    assert report.kept
    assert "spent 1.3" in report.reason


def test_what_leaves_too_little_for_the_next_step_is_tried_milder(tmp_path: Path) -> None:
    prune = replace(Outcome(model(0.95, 0.25), "much", {}, lambda: MILD), share=0.9)
    best, (report, _) = run(tmp_path, prune=lambda *_: prune, quantize=spends(0.3, 2))
    assert says(best, "spent") == pytest.approx(0.8)
    assert report.kept
    assert "would leave next to nothing of it" in report.reason


@pytest.mark.parametrize("milder", [None, Outcome(model(0.93, 0.3), "less", share=0.9)])
def test_where_nothing_milder_holds_it_is_kept_all_the_same(
    tmp_path: Path, milder: Outcome | None
) -> None:
    prune = Outcome(model(0.95, 0.25), "much", {}, lambda: milder, share=0.9)
    best, (report,) = run(tmp_path, prune=lambda *_: prune)
    assert says(best, "spent") == 0.95
    assert report.kept
    assert "spent 0.95" in report.reason


def test_of_the_milder_ones_only_what_comes_out_races(tmp_path: Path) -> None:
    fewer = Outcome(model(0.8, 0.4), "between")
    mild = replace(MILD, between=lambda: fewer)
    judge = JudgeOfWhatModelsSay()
    best, _ = run_all(tmp_path, None, judge, prune=spends(1.3, 4, mild))
    assert judge.raced == [0.4]
    assert best.measured.latency_ms == 0.4


def test_what_loses_its_race_is_not_kept_for_being_milder(tmp_path: Path) -> None:
    class Slow(JudgeOfWhatModelsSay):
        def measure(self, path: Path, parity: Any, best: Measured) -> Measured:
            found = super().measure(path, parity, best)
            return replace(found, speedup=0.5, speedup_low=0.49, speedup_high=0.51)

    best, (report,) = run_all(tmp_path, None, Slow(), prune=spends(1.2, 4, MILD))
    assert not report.kept
    assert best.path == tmp_path / "fp32.onnx"


@pytest.mark.parametrize(("before", "milder_first"), [(0.4, True), (0.98, False)])
def test_a_step_that_adds_little_goes_back_first(
    tmp_path: Path, before: float, milder_first: bool
) -> None:
    asked: list[str] = []

    def noted(name: str, made: Outcome) -> Callable[[], Outcome]:
        def way() -> Outcome:
            asked.append(name)
            return made

        return way

    def quantize(model_before: ir.Model, context: Any) -> Outcome:
        spent, time = says(model_before, "spent"), says(model_before, "time")
        milder = noted("milder", Outcome(model(0.9, 0.2), "milder"))
        return Outcome(model(spent + 1.01 - before, time / 2), "harsh", {}, milder)

    prune = Outcome(model(before, 0.25), "pruned", {}, noted("back", Outcome(model(0.0, 0.3), "b")))
    run(tmp_path, prune=lambda *_: prune, quantize=quantize)
    assert asked[0] == ("milder" if milder_first else "back")


def test_what_is_no_better_when_milder_is_rolled_back(tmp_path: Path) -> None:
    useless = Outcome(model(0.5, 2.0), "slow")
    best, reports = run(tmp_path, prune=spends(1.2, 4, useless))
    assert not reports[0].kept
    assert "spent 1.2" in reports[0].reason
    assert says(best, "time") == 1.0


def test_a_later_step_gets_what_an_earlier_one_leaves(tmp_path: Path) -> None:
    best, reports = run(tmp_path, prune=spends(0.95, 3, MILD), quantize=spends(0.1, 2))
    assert [(one.name, one.kept) for one in reports] == [("prune", True), ("quantize", True)]
    assert says(best, "time") == 0.25
    assert "too little of the budget for quantize" in reports[0].reason


def test_but_not_where_the_first_alone_was_faster(tmp_path: Path) -> None:
    best, reports = run(tmp_path, prune=spends(0.95, 9, MILD), quantize=spends(0.1, 2))
    assert [one.kept for one in reports] == [True, False]
    assert says(best, "time") == pytest.approx(1 / 9)
    assert "spent 1.05" in reports[1].reason


def test_a_replay_decides_nothing_anew(tmp_path: Path) -> None:
    steps = {"prune": spends(0.95, 3, MILD), "quantize": spends(0.1, 2)}
    best, reports = run(tmp_path, {"prune": True, "quantize": False}, **steps)
    assert [one.kept for one in reports] == [True, False]
    assert says(best, "time") == pytest.approx(1 / 3)
    with pytest.raises(BudgetError, match="'quantize'"):
        run(tmp_path, {"prune": True, "quantize": True}, **steps)


def test_milder_files_do_not_take_the_place_of_what_they_are_compared_with(tmp_path: Path) -> None:
    best, _ = run(tmp_path, prune=spends(0.95, 9, MILD), quantize=spends(0.1, 2))
    assert np.isclose(says(best, "spent"), 0.95)
    assert {path.name for path in tmp_path.iterdir()} == {
        "fp32.onnx",
        "prune.onnx.tmp",
        "prune.less_aggressive.onnx.tmp",
        "quantize.less_aggressive.onnx.tmp",
    }


def test_the_best_knows_the_pruned_model_that_it_comes_from(tmp_path: Path) -> None:
    both, _ = run_all(tmp_path, prune=spends(0.1, 2), quantize=spends(0.1, 2))
    assert both.pruned == tmp_path / "prune.onnx.tmp" != both.path
    one, _ = run_all(tmp_path, prune=spends(0.1, 2))
    assert one.pruned == one.path
    none, _ = run_all(tmp_path, prune=spends(9, 2), quantize=spends(0.1, 2))
    assert none.pruned is None


@pytest.mark.parametrize(("again", "kept"), [(1.5, 0.25 / 2), (8, 0.5 / 8)])
def test_going_back_overwrites_no_file_that_was_kept(
    tmp_path: Path, again: float, kept: float
) -> None:
    """The milder form of a step is the best so far, and the step itself on a milder model ..."""

    def quantize(before: ir.Model, context: Any) -> Outcome:
        spent, time = says(before, "spent"), says(before, "time")
        if time == 0.25:  # ... which is too much on the model that was pruned as far as it goes
            made = Outcome(model(spent + 0.1, time / 2), "lost little")
            return Outcome(model(spent + 0.5, time / 4), "lost much", {}, lambda: made)
        return Outcome(model(spent + 0.4, time / again), "lost some")

    best, reports = run(tmp_path, prune=spends(0.8, 4, MILD), quantize=quantize)
    assert all(one.kept for one in reports)
    assert says(best, "time") == kept


@pytest.mark.parametrize("judged_in", [("cpu",), ("opencv",)])
def test_what_an_engine_of_the_target_does_not_run_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged_in: tuple[str, ...]
) -> None:
    def parity(*_: Any) -> Any:
        raise ModelError("no maximum of bytes")

    monkeypatch.setattr(JudgeOfWhatModelsSay, "judged_in", judged_in, raising=False)
    monkeypatch.setattr(JudgeOfWhatModelsSay, "parity", parity)
    if judged_in == ("cpu",):  # a defect: ONNX Runtime runs what kilnx makes
        with pytest.raises(ModelError):
            run_all(tmp_path, quantize=spends(0.1, 2.0))
        return
    best, (report,) = run_all(tmp_path, quantize=spends(0.1, 2.0))
    assert says(best.model, "spent") == 0.0
    assert not report.kept
    assert report.reason == "it does not run on the target: no maximum of bytes"


def test_later_steps_know_whether_what_was_kept_is_trained(tmp_path: Path) -> None:
    told: list[bool] = []

    def weights(before: ir.Model, context: Any) -> Outcome:
        told.append(context.trained)
        return Outcome(None, "nothing")

    details = {"training": {"steps": 3}}
    for spent in (0.1, 2.0):  # kept, and refused
        made = Outcome(model(spent, 0.5), "trained", details)
        run_all(tmp_path, prune=lambda *_, made=made: made, weights=weights)
    assert told == [True, False]
