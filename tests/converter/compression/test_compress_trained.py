"""``compress`` with training: what it keeps, repeats and leaves out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from converter import compress
from converter.compression import recovery
from converter.pruning.trials import Recovery
from runtimes.errors import DataError, UnsupportedOperator

BRIEF = {"rounds": (60, 90)}
BUDGET: dict[str, Any] = {"metric": "top1", "max_drop": 0.05, "steps": ["prune"]}
# Where it does not matter how far pruning goes.
QUICK: dict[str, Any] = {**BUDGET, "stress": "none"}


@pytest.fixture(scope="module")
def trained(digits_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "out"
    with pytest.MonkeyPatch.context() as patch:  # a race on a busy machine says nothing
        patch.setattr("converter.compression.attempts.lost_race", lambda *_: None)
        patch.setattr("converter.compression.attempts.lost_to_another", lambda *_: None)
        patch.setattr(recovery, "Recovery", partial(Recovery, **BRIEF))
        compress(
            digits_files / "model.keras",
            output,
            digits_files / "train.npz",
            evaluate_on=digits_files / "test.npz",
            recover=True,
            **BUDGET,
        )
    return output


def pruning(folder: Path) -> Any:
    report = json.loads((folder / "report.json").read_text())
    return next(step for step in report["steps"] if step["name"] == "prune")


def test_the_report_says_what_was_trained(trained: Path) -> None:
    step = pruning(trained)
    assert step["kept"], step["reason"]
    training = step["details"]["training"]
    assert training["after"] < training["before"]
    assert 0 < training["steps"] <= training["asked"]
    assert f"trained in {training['steps']} steps" in step["reason"]
    assert any(not one["passed"] for one in step["details"]["tried"])
    assert training["asked"] == sum(training["rounds"])
    assert set(training["rounds"]) <= {*BRIEF["rounds"]}


def test_decisions_are_repeated_with_training(trained: Path, digits: Any, tmp_path: Path) -> None:
    compress(
        trained / "fp32.onnx",
        tmp_path / "again",
        digits[0],
        evaluate_on=digits[1],
        decisions=trained / "report.json",
        **BUDGET,
    )
    assert (tmp_path / "again/model.onnx").read_bytes() == (trained / "model.onnx").read_bytes()


def test_no_recover_trains_nothing(trained: Path, digits: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compress(trained / "fp32.onnx", out, digits[0], evaluate_on=digits[1], recover=False, **QUICK)
    assert pruning(out)["details"].get("training") is None


def test_what_stands_against_training_is_said(
    trained: Path, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise UnsupportedOperator("Loop 'l' cannot be trained")

    monkeypatch.setattr(recovery, "refuse_unknown", refuse)
    train, test = digits
    compress(trained / "fp32.onnx", tmp_path / "out", train, evaluate_on=test, **QUICK)
    assert "not trained: Loop 'l' cannot be trained" in pruning(tmp_path / "out")["reason"]


def test_a_defect_of_training_costs_the_training_alone(
    trained: Path, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(*_: Any, **__: Any) -> None:
        raise IndexError("planted")

    monkeypatch.delenv("KILNX_STRICT", raising=False)
    monkeypatch.setattr(recovery, "Distiller", planted)
    train, test = digits
    compress(trained / "fp32.onnx", tmp_path / "out", train, evaluate_on=test, **QUICK)
    step = pruning(tmp_path / "out")
    assert "not trained: training failed and was left out: IndexError: planted" in step["reason"]
    assert "planted" in json.dumps(step["details"]["defects"])
    assert step["details"]["plan"]  # cuts were searched for all the same


@pytest.mark.slow
def test_a_user_who_stops_training_gets_the_other_steps(
    trained: Path, digits: Any, tmp_path: Path
) -> None:
    presses = []

    def press(stage: str, done: int = 0, total: int | None = None) -> None:
        if "training" in stage and done >= 30 and not presses:
            presses.append(stage)
            raise KeyboardInterrupt

    train, test = digits
    source, out = trained / "fp32.onnx", tmp_path / "out"
    more: dict[str, Any] = {"evaluate_on": test, "recover": True, "progress": press, **QUICK}
    with pytest.raises(KeyboardInterrupt):
        compress(source, out, train, **more)
    assert not out.exists()
    presses.clear()
    report = compress(source, out, train, keep_best=True, **more)
    assert presses
    assert (out / "model.onnx").exists()
    assert any("training was stopped with Ctrl-C" in note for note in report.notes)


def test_too_few_samples_are_an_error_where_training_was_asked_for(
    trained: Path, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KILNX_STRICT", raising=False)
    few = {name: array[:40] for name, array in digits[0].items()}
    source, out = trained / "fp32.onnx", tmp_path / "out"
    with pytest.raises(DataError, match="40 samples"):
        compress(source, out, few, evaluate_on=digits[1], recover=True, **QUICK)
    assert not out.exists()
