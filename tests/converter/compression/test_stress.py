"""``compress`` on perturbed samples: what they refuse, what is tried in its place, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.compression import compress as pipeline
from converter.compression.compress import compress
from converter.compression.gain import Gain
from converter.compression.judge import Judge
from converter.compression.steps import Outcome
from runtimes import Dataset
from runtimes.errors import BudgetError
from runtimes.onnx_files.load_save import write_model
from runtimes.options import RunOptions
from runtimes.parity.budget import Budget
from runtimes.parity.stressed import CLEAN_ONLY

LABELS = np.random.default_rng(0).integers(0, 2, 200)


def samples() -> dict[str, Any]:
    """Two classes by the first two features; the last two are always equal."""
    side = 3.0 - 6.0 * LABELS[:, None]
    spread = np.random.default_rng(1).normal(size=(200, 3)) * [0.5, 0.5, 3]
    x = np.concatenate([side, -side, 0 * side], axis=1) + spread
    return {"x": np.concatenate([x, x[:, 2:]], axis=1).astype(np.float32), "labels": LABELS}


@pytest.fixture
def linear(graph: Any) -> Any:
    """A model that adds ``fragile`` times the difference of equal features to its scores."""

    def make(fragile: float) -> ir.Model:
        weights = {
            "w": np.array([[4, 0], [0, 4], [0, 0], [0, 0]], np.float32),
            "d": np.array([[0, 0], [0, 0], [0, fragile], [0, -fragile]], np.float32),
        }
        text = """g (float[N, 4] x, float[4, 2] w, float[4, 2] d) => (float[N, 2] y) {
            a = MatMul(x, w)  b = MatMul(x, d)  y = Add(a, b) }"""
        made: ir.Model = graph(text, weights)
        return made

    return make


@pytest.fixture
def model(linear: Any, tmp_path: Path) -> Path:
    write_model(linear(0.0), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture(autouse=True)
def planted(linear: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose result is fragile, and the milder one that it offers; the clock says nothing."""
    mild = Outcome(linear(0.0078125), "a milder plan")
    step = Outcome(linear(256.0), "a harsh plan", less_aggressive=lambda: mild)
    monkeypatch.setattr(pipeline, "STEPS", {"prune": lambda *_: step})
    monkeypatch.setattr(Judge, "gain", lambda *_: Gain(0.5, ((1, 2.0),), True, False))
    monkeypatch.setattr("converter.compression.attempts.lost_race", lambda *_: None)
    monkeypatch.setattr("converter.compression.attempts.lost_to_another", lambda *_: None)


def run(model: Path, out: Path, **options: Any) -> Any:
    return compress(model, out, samples(), metric="top1", steps=["prune"], **options)


def test_what_only_a_rung_refuses_gives_way_to_what_is_milder(model: Path, tmp_path: Path) -> None:
    report = run(model, tmp_path / "out")
    (step,) = report.steps
    assert step.kept
    assert "more was outside the budget: noise 0.5: top1 fell by " in step.reason
    assert "(a harsh plan)" in step.reason
    assert report.stress == step.stress
    assert [one.name for one in report.stress.rungs] == ["noise 0.5", "gain 0.3"]
    document = json.loads((tmp_path / "out/report.json").read_text())
    for found in (document["stress"], document["steps"][0]["stress"]):
        assert [one["passed"] for one in found["rungs"]] == [True, True]
    assert "<h2>Under stress</h2>" in (tmp_path / "out/report.html").read_text()


def test_stress_none_keeps_what_clean_samples_allow_and_says_so(
    model: Path, tmp_path: Path
) -> None:
    report = run(model, tmp_path / "out", stress="none")
    (step,) = report.steps
    assert step.kept
    assert step.reason.endswith("(a harsh plan)")
    assert report.stress is None
    assert CLEAN_ONLY in report.notes
    assert "<h2>Under stress</h2>" not in (tmp_path / "out/report.html").read_text()


def test_decisions_that_keep_what_a_rung_refuses_end_the_run(model: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "out/report.json"
    run(model, tmp_path / "out", stress="none")
    with pytest.raises(BudgetError, match=r"outside the budget: noise 0\.5: top1 fell by"):
        run(model, tmp_path / "again", decisions=earlier)
    report = run(model, tmp_path / "again", decisions=earlier, stress="none")
    assert report.steps[0].kept


def test_the_ladder_is_measured_once_for_all_candidates(
    model: Path, linear: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtimes.parity import stressed

    asked = []
    measure = stressed.measure_ladder
    monkeypatch.setattr(
        stressed, "measure_ladder", lambda *a, **o: asked.append(a) or measure(*a, **o)
    )
    data = Dataset.open(samples())
    judge = Judge(model, data, Budget("top1").resolve(None), "cpu", RunOptions())
    for name, fragile, passed in (("a", 0.0078125, True), ("b", 256.0, False), ("c", 64.0, False)):
        write_model(linear(fragile), tmp_path / name)
        assert judge.parity(tmp_path / name).passed is passed
    assert len(asked) == 1
