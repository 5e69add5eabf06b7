"""A defect costs the step or the part of the report that it is in, never the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from converter import compress
from converter.compression import attempts, judge, output_folder, steps
from converter.compression import compress as pipeline
from converter.compression.attempts import Candidate, run_steps
from converter.compression.decisions import Decisions
from converter.compression.gain import Gain
from converter.compression.steps import Outcome
from converter.report import analysis, html, html_analysis
from converter.report.report import Measured
from runtimes.defects import STRICT, Defect, callers_own, contain
from runtimes.errors import BudgetError, DataError, RuntimeUnavailable
from runtimes.onnx_files.load_save import write_model
from runtimes.options import RunOptions


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it."""
    monkeypatch.delenv(STRICT)


def planted(*_: Any, **__: Any) -> Any:
    raise IndexError("planted: list index out of range")


def test_strict_raises_what_it_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    found = contain("the chart", planted)
    assert isinstance(found, Defect)
    assert "in planted" in found.traceback
    assert str(found).startswith("the chart failed and was left out: IndexError: planted")
    monkeypatch.setenv(STRICT, "1")
    with pytest.raises(IndexError, match="planted"):
        contain("the chart", planted)


def test_what_the_caller_raises_to_stop_a_run_stops_it() -> None:
    def stop(stage: str) -> None:
        raise RuntimeError(f"stop at {stage}")

    tell = callers_own(stop)
    assert tell is not None
    with pytest.raises(RuntimeError, match="stop at pruning"):
        contain("prune", lambda: tell("pruning"))
    assert callers_own(None) is None


def test_too_little_memory_is_no_defect_to_report() -> None:
    def need() -> None:
        raise MemoryError

    found = contain("prune", need)
    assert "fewer samples" in str(found)
    assert "please report" not in str(found)


# The steps, with a judge that allows a loss of 1.


def model(spent: float) -> ir.Model:
    x = ir.val("x", ir.DataType.FLOAT, ["N", 2])
    node = ir.node("Identity", [x], name="identity")
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), x.shape
    made = ir.Model(ir.Graph([x], [y], nodes=[node], opset_imports={"": 18}), ir_version=9)
    made.metadata_props["spent"] = str(spent)
    return made


def spent(source: Path | ir.Model) -> float:
    found = source if isinstance(source, ir.Model) else ir.load(source)
    return float(found.metadata_props["spent"])


class Samples:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def batches(self, size: int) -> Any:
        if self.error is not None:
            raise self.error
        return iter([])


class Judge:
    prefer = "balanced"

    def __init__(self, data: Samples) -> None:
        self.evaluation = data

    def parity(self, path: Path) -> Any:
        return SimpleNamespace(
            passed=spent(path) <= 1.0, reason=f"spent {spent(path):g}", stress=None
        )

    def measure(self, path: Path, parity: Any, best: Measured) -> Measured:
        return Measured(100, 1.0, None)

    predict = measure

    def gain(self, path: Path, than: Path) -> Gain:
        return Gain(1.0, ((1, 2.0),), True, False)


@dataclass(frozen=True)
class Context:
    """What the steps of these tests ask of theirs."""

    run: RunOptions
    calibration: Samples
    decisions: Decisions
    training: None = None
    trained: bool = False


def spends(loss: float, again: Callable[[], Outcome] | None = None) -> Callable[..., Outcome]:
    def step(before: ir.Model, context: Any) -> Outcome:
        return Outcome(model(spent(before) + loss), f"lost {loss:g}", {}, again)

    return step


def run(
    tmp_path: Path,
    data: Samples | None = None,
    decisions: Decisions | None = None,
    **wanted: Any,
) -> tuple[Candidate, Any]:
    first, path = model(0.0), tmp_path / "fp32.onnx"
    write_model(first, path)
    context: Any = Context(RunOptions(), Samples(), decisions or Decisions())
    made: Any = Judge(data or Samples())
    begin = Candidate(first, path, Measured(100, 1.0, None))
    return run_steps(wanted, context, begin, made, None)


def test_a_step_that_fails_is_rolled_back_and_the_others_go_on(tmp_path: Path) -> None:
    def half_done(before: ir.Model, context: Any) -> Outcome:
        before.metadata_props["spent"] = "7"
        return planted()

    best, reports = run(tmp_path, dedupe=spends(0.1), prune=half_done, quantize=spends(0.2))
    assert [one.kept for one in reports] == [True, False, True]
    assert spent(best.model) == spent(best.path) == pytest.approx(0.3)
    assert reports[1].defect.part == "prune"
    assert "in half_done" in reports[1].defect.traceback
    assert "IndexError: planted" in reports[1].reason
    assert "\n" not in reports[1].reason


def test_a_candidate_that_cannot_be_judged_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "measure", planted)
    best, (report,) = run(tmp_path, prune=spends(0.1))
    assert spent(best.path) == 0.0
    assert report.defect is not None


def test_less_of_a_step_may_fail_where_more_was_refused(tmp_path: Path) -> None:
    best, (report,) = run(tmp_path, prune=spends(2, planted))
    assert spent(best.path) == 0.0
    assert report.reason.startswith("outside the budget: spent 2")
    assert "IndexError: planted" in report.reason
    assert report.tried


def test_going_back_may_fail_where_going_on_was_refused(tmp_path: Path) -> None:
    best, reports = run(tmp_path, prune=spends(0.9, planted), quantize=spends(0.5))
    assert [one.kept for one in reports] == [True, False]
    assert spent(best.path) == 0.9
    assert "spent 1.4" in reports[1].reason
    assert reports[1].defect is not None


@pytest.mark.parametrize("error", [BudgetError("no"), OSError(28, "no space"), KeyboardInterrupt()])
def test_what_is_the_users_to_mend_ends_the_run(tmp_path: Path, error: BaseException) -> None:
    def step(*_: Any) -> Outcome:
        raise error

    with pytest.raises(type(error)):
        run(tmp_path, prune=step)


def test_data_that_cannot_be_read_end_the_run_and_a_wrong_word_about_them_does_not(
    tmp_path: Path,
) -> None:
    def step(*_: Any) -> Outcome:
        raise DataError("the data hold 12 rows, not 14")

    with pytest.raises(DataError, match="sample 3"):
        run(tmp_path, Samples(DataError("sample 3 is NaN")), prune=step)
    _, (report,) = run(tmp_path, prune=step)
    assert "the data hold 12 rows, not 14; if this is not so" in report.reason


def test_decisions_of_another_model_end_the_run(tmp_path: Path) -> None:
    def step(*_: Any) -> Outcome:
        raise DataError("the decisions are of another model")

    with pytest.raises(DataError, match="another model"):
        run(tmp_path, decisions=Decisions(plan={"a": 1}), prune=step)


# The whole command, on a small network.


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing decides nothing here."""
    monkeypatch.setattr(pipeline.Judge, "gain", lambda *_: Gain(0.5, ((1, 2.0),), True, False))


@pytest.fixture
def network(graph: Any, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(8, 16)).astype(np.float32),
        "v": rng.normal(size=(16, 4)).astype(np.float32),
    }
    text = """g (float[N, 8] x, float[8, 16] w, float[16, 4] v) => (float[N, 4] y) {
        a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, v) }"""
    write_model(graph(text, weights), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


@pytest.fixture
def samples() -> dict[str, Any]:
    return {"x": np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)}


def runs(folder: Path) -> bool:
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": np.zeros((3, 8), np.float32)})
    return bool(found.shape == (3, 4))


@pytest.mark.parametrize(
    ("step", "room", "function"),
    [
        ("dedupe", steps, "deduplicate_all"),
        ("prune", steps, "prepare"),
        ("quantize", steps, "quantize_model"),
        ("weights", steps, "store_weights"),
        ("dedupe", attempts, "_attempt"),
    ],
)
def test_an_error_in_a_step_costs_that_step(
    step: str,
    room: Any,
    function: str,
    network: Path,
    samples: Any,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, function, planted)
    report = compress(network, tmp_path / "out", samples, steps=[step])
    document = json.loads((tmp_path / "out/report.json").read_text())
    (found,) = report.steps
    assert not found.kept
    assert "IndexError: planted" in found.reason
    assert [one["part"] for one in document["defects"]] == [step]
    assert "in planted" in document["defects"][0]["traceback"]
    assert runs(tmp_path / "out")
    assert "failed" in (tmp_path / "out/report.html").read_text()


def rounded(before: ir.Model, context: Any) -> Outcome:
    candidate = before.clone()
    for value in candidate.graph.initializers.values():
        if value.const_value is not None and value.dtype == ir.DataType.FLOAT:
            value.const_value = ir.tensor(value.const_value.numpy().round(2))
    return Outcome(candidate, "two digits are enough")


_PARTS = {
    "the profile of the operators": (analysis, "measure_roof"),
    "the histogram of errors": (analysis, "_errors"),
    "the comparison of layers": (analysis, "compare_layers"),
    "the analysis": (pipeline, "analyze"),
    "report.html": (output_folder, "to_html"),
    "the chart of sizes": (html, "bars"),
    "the page": (html, "models"),
    "the error by layer": (html_analysis, "lines"),
    "the errors of the outputs": (html_analysis, "histogram"),
    "the time by layer": (html_analysis, "paired_bars"),
    "the roofline": (html_analysis, "roofline"),
    "the table of operators": (html_analysis, "_text"),
    "the report of the analysis": (analysis, "plain"),
}


@pytest.mark.parametrize("part", _PARTS)
def test_an_error_in_the_report_costs_that_part(
    part: str,
    network: Path,
    samples: Any,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(*_PARTS[part], planted)
    monkeypatch.setattr(pipeline, "STEPS", {"round": rounded})
    compress(network, tmp_path / "out", samples, steps=["round"])
    document = json.loads((tmp_path / "out/report.json").read_text())
    page = (tmp_path / "out/report.html").read_text()
    assert runs(tmp_path / "out")
    assert document["steps"][0]["kept"]
    told = [one["part"] for one in document["defects"]]
    assert part in told or f"{part} is missing: IndexError: planted".lower() in page.lower()
    assert "in planted" in page or "in planted" in document["defects"][0]["traceback"]


def test_an_unknown_provider_is_named_before_a_model_is_read(samples: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="no provider 'gpu'"):
        compress(tmp_path / "none.keras", tmp_path / "out", samples, provider="gpu")


def test_without_a_clock_the_float_model_is_written(
    network: Path, samples: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "profile", planted)
    loose: dict[str, Any] = {"min_agreement": 0, "min_sqnr": 0, "prefer": "size"}
    report = compress(network, tmp_path / "out", samples, steps=["quantize"], **loose)
    assert report.baseline.latency_ms is None
    assert [one.part for one in report.all_defects()] == ["quantize", "timing fp32"]
    assert runs(tmp_path / "out")


def test_what_is_not_json_costs_the_details_of_its_step(
    network: Path, samples: Any, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(before: ir.Model, context: Any) -> Outcome:
        return Outcome(before.clone(), "same", {"scale": float("nan"), "of": object()})

    monkeypatch.setattr(pipeline, "STEPS", {"tried": step})
    report = compress(network, tmp_path / "out", samples, steps=["tried"])
    (found,) = json.loads((tmp_path / "out/report.json").read_text())["steps"]
    assert found["kept"]
    assert found["details"] == {}
    assert [defect.part for defect in report.all_defects()] == ["the report of tried"]
    assert runs(tmp_path / "out")


def test_the_command_ends_well_and_says_so(
    network: Path, samples: Any, tmp_path: Path, kilnx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "d.npz", **samples)
    monkeypatch.setattr(steps, "prepare", planted)
    monkeypatch.setattr(analysis, "measure_roof", planted)
    code, out, _ = kilnx(
        "compress", network, "-o", tmp_path / "out", "--data", tmp_path / "d.npz",
        "--skip", "quantize",
    )  # fmt: skip
    assert code == 0
    assert "prune: failed, prune failed and was left out: IndexError: planted" in out
    assert "note: the profile of the operators failed" in out


def test_a_command_that_cannot_go_on_does_not_end_like_a_failed_check(
    network: Path, kilnx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.profiling.profile.profile", planted)
    code, out, err = kilnx("profile", network)
    assert code == 70
    assert out == ""
    assert "IndexError: planted" in err
    assert err.rstrip().endswith("please report it with the traceback above")
