"""``compress``: one budget, every decision explained, outputs whole or absent."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from converter import compress
from converter.compression import compress as pipeline
from converter.compression.gain import Gain
from converter.compression.steps import Outcome
from runtimes.errors import BudgetError, DataError, ModelError


@pytest.fixture(scope="module")
def compressed(digits_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("compressed") / "out"
    compress(
        digits_files / "model.keras",
        output,
        digits_files / "train.npz",
        evaluate_on=digits_files / "test.npz",
        metric="top1",
        max_drop=0.02,
        recover=False,
    )
    return output


def accuracy(path: Path, samples: dict[str, Any]) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": samples["image"]})
    return float(np.mean(np.argmax(scores, axis=1) == samples["labels"]))


def test_the_four_outputs_and_nothing_else(compressed: Path) -> None:
    assert sorted(p.name for p in compressed.iterdir()) == [
        "fp32.onnx",
        "model.onnx",
        "report.html",
        "report.json",
    ]


def test_the_report_has_the_documented_form(compressed: Path) -> None:
    report = json.loads((compressed / "report.json").read_text())
    assert {"kilnx", "created", "source", "machine", "metric", "baseline", "steps", "result"} <= (
        report.keys()
    )
    assert report["metric"]["name"] == "top1"
    assert report["metric"]["max_drop"] == 0.02
    for step in report["steps"]:
        assert {"name", "kept", "reason", "size_bytes", "latency_ms", "metric"} <= step.keys()
        assert step["reason"]
    assert report["baseline"]["size_bytes"] == (compressed / "fp32.onnx").stat().st_size
    assert report["result"]["size_bytes"] == (compressed / "model.onnx").stat().st_size


def test_what_is_reported_is_what_the_files_do(compressed: Path, digits: Any) -> None:
    report = json.loads((compressed / "report.json").read_text())
    before = accuracy(compressed / "fp32.onnx", digits[1])
    after = accuracy(compressed / "model.onnx", digits[1])
    assert report["baseline"]["metric"] == pytest.approx(before, abs=1e-6)
    assert report["result"]["metric"] == pytest.approx(after, abs=1e-6)
    assert before - after <= 0.02
    assert before > 0.9


def test_int8_is_stored_as_int8(compressed: Path) -> None:
    report = json.loads((compressed / "report.json").read_text())
    kept = {step["name"]: step["kept"] for step in report["steps"]}
    graph = ir.load(compressed / "model.onnx").graph
    assert any(node.op_type == "QuantizeLinear" for node in graph) == kept["quantize"]
    if kept["quantize"] and not kept["weights"]:
        assert ir.DataType.INT8 in {value.dtype for value in graph.initializers.values()}


def test_decisions_can_be_replayed_to_the_same_bytes(
    compressed: Path, digits_files: Path, tmp_path: Path
) -> None:
    compress(
        digits_files / "model.keras",
        tmp_path / "again",
        digits_files / "train.npz",
        evaluate_on=digits_files / "test.npz",
        metric="top1",
        max_drop=0.02,
        decisions=compressed / "report.json",
    )
    for name in ("model.onnx", "fp32.onnx"):
        assert (tmp_path / "again" / name).read_bytes() == (compressed / name).read_bytes()


def test_an_onnx_file_can_be_compressed(compressed: Path, digits: Any, tmp_path: Path) -> None:
    report = compress(
        compressed / "fp32.onnx",
        tmp_path / "out",
        digits[0],
        max_drop=0.02,
        steps=["dedupe", "quantize"],
    )
    assert report.metric_name == "top1"  # told from the integer labels
    assert any("was split" in note for note in report.notes)
    assert (tmp_path / "out" / "model.onnx").exists()


def broken(model: ir.Model, context: Any) -> Outcome:
    candidate = model.clone()
    for value in candidate.graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT and value.const_value is not None:
            value.const_value = ir.tensor(np.zeros_like(value.const_value.numpy()))
    return Outcome(candidate, "all weights are zero")


def unchanged(model: ir.Model, context: Any) -> Outcome:
    return Outcome(model.clone(), "the same again")


def nothing(model: ir.Model, context: Any) -> Outcome:
    return Outcome(None, "nothing to do")


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (broken, "outside the budget"),
        (unchanged, "neither smaller nor faster"),
        (nothing, "nothing"),
    ],
)
def test_a_step_that_does_not_pay_is_rolled_back(
    step: Any,
    reason: str,
    compressed: Path,
    digits: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "STEPS", {"tried": step})
    if step is unchanged:  # a timing decides here, and tests assert none
        monkeypatch.setattr(pipeline.Judge, "gain", lambda *_: Gain(1.0, ((1, 1.0),), False, False))
    report = compress(
        compressed / "fp32.onnx",
        tmp_path / "out",
        digits[0],
        evaluate_on=digits[1],
        steps=["tried"],
    )
    (found,) = report.steps
    assert not found.kept
    assert reason in found.reason
    assert (tmp_path / "out/model.onnx").read_bytes() == (tmp_path / "out/fp32.onnx").read_bytes()


def test_strict_wants_the_whole_interval_inside(
    compressed: Path, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "STEPS", {"tried": unchanged})
    report = compress(
        compressed / "fp32.onnx",
        tmp_path / "out",
        digits[0],
        evaluate_on=digits[1],
        metric="top1",
        max_drop=0.0,
        strict=True,
        steps=["tried"],
    )
    (found,) = report.steps
    assert not found.kept
    assert "outside the budget" in found.reason
    assert "not enough to tell" in found.reason


def test_a_slower_step_is_rolled_back(
    compressed: Path, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.Judge, "gain", lambda *_: Gain(0.3, ((1, 0.4),), False, True))
    report = compress(
        compressed / "fp32.onnx",
        tmp_path / "out",
        digits[0],
        evaluate_on=digits[1],
        max_drop=0.05,
        steps=["quantize"],
    )
    quantized = next(step for step in report.steps if step.name == "quantize")
    assert not quantized.kept
    assert "slower here" in quantized.reason


def test_a_replayed_step_must_still_be_inside_the_budget(
    compressed: Path, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "STEPS", {"tried": broken})
    with pytest.raises(BudgetError, match="outside the budget"):
        compress(
            compressed / "fp32.onnx",
            tmp_path / "out",
            digits[0],
            steps=["tried"],
            decisions={"tried": True},
        )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_users_is_left_alone(
    digits_files: Path, digits: Any, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("precious")
    for force in (False, True):
        with pytest.raises(DataError, match=r"not empty.*notes\.txt"):
            compress(digits_files / "model.keras", mine, digits[0], force=force)
    assert [p.name for p in mine.iterdir()] == ["notes.txt"]


def test_force_replaces_what_compress_wrote_and_nothing_else(
    compressed: Path, digits: Any, tmp_path: Path
) -> None:
    source, output = compressed / "fp32.onnx", tmp_path / "out"
    shutil.copytree(compressed, output)
    options: dict[str, Any] = {"steps": [], "force": True}
    with pytest.raises(DataError, match="which this command reads"):
        compress(output / "fp32.onnx", output, digits[0], **options)
    with pytest.raises(DataError, match="which this command reads"):
        compress(source, output, digits[0], decisions=output / "report.json", **options)
    html = (output / "report.html").read_text()
    (output / "report.html").write_text(f"{html}<!-- a note -->")
    with pytest.raises(DataError, match=r"there is report\.html"):
        compress(source, output, digits[0], **options)
    (output / "report.html").write_text(html)
    report = compress(source, output, digits[0], **options)
    assert json.loads((output / "report.json").read_text())["files"] == report.files
    assert sorted(report.files) == ["fp32.onnx", "model.onnx", "report.html"]
    assert report.files["model.onnx"] == sha256((output / "model.onnx").read_bytes()).hexdigest()


def test_an_unknown_step_is_named(digits_files: Path, digits: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'shrink'"):
        compress(digits_files / "model.keras", tmp_path / "x", digits[0], steps=["shrink"])


def test_data_with_nan_are_refused_and_nothing_is_left(
    compressed: Path, digits: Any, tmp_path: Path
) -> None:
    images = digits[0]["image"].copy()
    images[7, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="image"):
        compress(compressed / "fp32.onnx", tmp_path / "out", {"image": images}, recover=False)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_run_is_called_as_the_user_calls_it(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    text = """<ir_version: 8, opset_import: ["" : 17, "nobody" : 1]>
    g (float[n, 4] x) => (float[n, 4] y) { y = nobody.Act(x) }"""
    onnx.save(onnx.parser.parse_model(text), path)
    x = np.zeros((8, 4), np.float32)
    with pytest.raises(ModelError) as error:
        compress(path, tmp_path / "out", x)
    assert str(error.value).startswith("m.onnx does not load")
    assert ".kilnx-" not in str(error.value)
