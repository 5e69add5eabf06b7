"""``kilnx quantize``: what its options do, its exit codes and its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.compression import quantize as judge
from converter.compression.gain import Gain
from quantizers.mixed_precision import choose as mixed
from runtimes import ProfileReport, profile

Kilnx = Callable[..., tuple[int, str, str]]

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def decided_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Race for some milliseconds; INT8 wins, whatever this machine says."""

    def quick(*models: object, **options: object) -> ProfileReport:
        return profile(*models, **{**options, "min_time": 0.02})

    monkeypatch.setattr(judge, "profile", quick)
    monkeypatch.setattr(mixed, "_fastest", lambda m: mixed._Mixture(m.full, set(), 1.0))
    faster = Gain(0.3, ((1, 2.0),), True, False)
    monkeypatch.setattr(judge.Gain, "predicted", lambda *_: faster)
    monkeypatch.setattr(judge, "lost_races", lambda *_: None)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a small convolutional model, samples with and without labels."""

    def weight(*shape: int) -> ir.Tensor:
        scale = np.sqrt(np.prod(shape[1:]))
        return ir.Tensor((RNG.normal(size=shape) / scale).astype(np.float32))

    model = ir.from_onnx_text(
        """<ir_version: 9, opset_import: ["" : 18]>
        net (float[n, 4, 8, 8] x, float[16, 4, 3, 3] v, float[16, 16, 3, 3] w, float[16, 5] d)
        => (float[n, 5] logits) { [first] c = Conv <pads = [1, 1, 1, 1]> (x, v) r = Relu (c)
          [second] e = Conv <pads = [1, 1, 1, 1]> (r, w) f = Relu (e)
          p = GlobalAveragePool (f) q = Flatten (p)
          [dense] logits = MatMul (q, d) }"""
    )
    for value in model.graph.inputs[1:]:
        value.const_value = weight(*value.shape.numpy())
        model.graph.register_initializer(value)
    del model.graph.inputs[1:]
    ir.save(model, tmp_path / "net.onnx")
    x = (RNG.normal(size=(80, 4, 8, 8)) + RNG.normal(size=(80, 4, 1, 1))).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x[:48])
    np.savez(tmp_path / "eval.npz", x=x[48:])
    np.savez(tmp_path / "labelled.npz", x=x, labels=RNG.integers(0, 5, 80))
    return tmp_path


def command(files: Path, *more: object, data: str = "data.npz") -> list[object]:
    common = ["quantize", files / "net.onnx", "-o", files / "out.onnx", "--data", files / data]
    return [*common, "--min-agreement", "0.5", *more]


def report(kilnx: Kilnx, arguments: list[object]) -> dict[str, Any]:
    code, out, err = kilnx(*arguments, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def precisions(found: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["precision"] for one in found["operators"]}


def test_the_table_says_what_became_of_each_operator(kilnx: Kilnx, files: Path) -> None:
    code, out, _ = kilnx(*command(files))
    assert code == 0
    assert "first" in out
    assert "int8" in out
    assert "INT8 written to" in out
    assert "note: " in out
    assert (files / "out.onnx").exists()


def test_the_table_of_a_form_that_was_refused_says_so(kilnx: Kilnx, files: Path) -> None:
    code, out, _ = kilnx(*command(files, "--min-sqnr", "150", "--effort", "low"))
    assert code == 0
    assert out.startswith("fp32 written to")
    assert "the operators of the INT8 form, which was not kept\noperator " in out


def test_keep_float_may_be_given_again(kilnx: Kilnx, files: Path) -> None:
    options = ["--keep-float", "first", "--keep-float", "dense"]
    found = precisions(report(kilnx, command(files, *options)))
    assert (found["first"], found["second"], found["dense"]) == ("float32", "int8", "float32")
    code, _, err = kilnx(*command(files, "--keep-float", "frist", "--force"))
    assert code == 2
    assert "close to it: 'first'" in err


def test_data_of_its_own_judge(kilnx: Kilnx, files: Path) -> None:
    found = report(kilnx, command(files, "--eval", files / "eval.npz"))
    assert found["calibration_samples"] == 48
    assert found["parity"]["samples"] == 32


def test_the_seed_splits_the_data(kilnx: Kilnx, files: Path) -> None:
    notes = [
        report(kilnx, command(files, "--seed", seed, "--force", "--effort", "low"))["notes"][0]
        for seed in (0, 5)
    ]
    assert "(seed 0)" in notes[0]
    assert "(seed 5)" in notes[1]


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [("--min-sqnr", "10", True), ("--min-sqnr", "150", False), ("--min-agreement", "1.1", False)],
)
def test_floors(kilnx: Kilnx, files: Path, option: str, value: str, kept: bool) -> None:
    """Outside the floors the float model is written, the reason said, and nothing failed."""
    found = report(kilnx, command(files, option, value, "--effort", "low"))
    assert found["kept"] is kept
    if not kept:
        assert found["reason"].startswith("INT8 is outside the budget")
    operators = {node.op_type for node in ir.load(files / "out.onnx").graph}
    assert ("QuantizeLinear" in operators) is kept


def test_labels_are_judged_by_a_metric(kilnx: Kilnx, files: Path) -> None:
    options = ["--metric", "top1", "--max-drop", "0.9", "--effort", "low"]
    found = report(kilnx, command(files, *options, data="labelled.npz"))
    assert found["kept"]
    assert found["parity"]["metrics"][0]["name"] == "top1"
    code, _, err = kilnx(*command(files, "--metric", "top2x", "--force", data="labelled.npz"))
    assert code == 2
    assert "top2x" in err


def test_effort_decides_what_is_measured(kilnx: Kilnx, files: Path) -> None:
    low, default, high = (
        report(kilnx, command(files, "--effort", effort, "--force"))["operators"]
        for effort in ("low", "default", "high")
    )
    assert all(one["sensitivity_db"] is None for one in low)
    for found in (default, high):
        assert any(one["sensitivity_db"] is not None for one in found)
    assert kilnx(*command(files, "--effort", "most", "--force"))[0] == 2


def test_target_cpu(kilnx: Kilnx, files: Path) -> None:
    guarded, free = (
        report(kilnx, command(files, "--target-cpu", cpu, "--force", "--effort", "low"))
        for cpu in ("any", "vnni")
    )
    levels = {one["name"]: one["weight_levels"] for one in guarded["operators"]}
    assert levels["second"] < 127
    assert all(one["weight_levels"] is None for one in free["operators"])


def test_batch_sizes_and_threads_are_those_timed(kilnx: Kilnx, files: Path) -> None:
    options = ["--batch", "1,4", "--threads", "1", "--effort", "low"]
    found = report(kilnx, command(files, *options))
    assert [batch["batch"] for batch in found["latency"]["batches"]] == [1, 4]
    assert found["latency"]["threads"] == 1
    for wrong in ("0", "1,x"):
        assert kilnx(*command(files, "--batch", wrong, "--force"))[0] == 2


def test_decisions_are_replayed(kilnx: Kilnx, files: Path) -> None:
    code, out, _ = kilnx(*command(files, "--keep-float", "second", "--json"))
    assert code == 0
    (files / "report.json").write_text(out)
    first = (files / "out.onnx").read_bytes()
    again = report(
        kilnx,
        command(files, "--decisions", files / "report.json", "--keep-float", "second", "--force"),
    )
    assert "replayed" in again["reason"]
    assert (files / "out.onnx").read_bytes() == first
    code, _, err = kilnx(*command(files, "--decisions", files / "data.npz", "--force"))
    assert code == 2
    assert "not a report" in err


def test_a_model_that_is_there_needs_force(kilnx: Kilnx, files: Path) -> None:
    older = (files / "net.onnx").read_bytes()
    (files / "out.onnx").write_bytes(older)
    code, _, err = kilnx(*command(files))
    assert code == 2
    assert "out.onnx" in err
    assert (files / "out.onnx").read_bytes() == older
    assert kilnx(*command(files, "--force", "--effort", "low"))[0] == 0
    assert (files / "out.onnx").read_bytes() != older


def test_another_file_that_is_there_stays(kilnx: Kilnx, files: Path) -> None:
    (files / "out.onnx").write_text("mine")
    for force in ([], ["--force"]):
        code, _, err = kilnx(*command(files, *force))
        assert code == 2
        assert "out.onnx" in err
    assert (files / "out.onnx").read_text() == "mine"


def test_a_quantized_model_is_refused(kilnx: Kilnx, files: Path) -> None:
    assert report(kilnx, command(files, "--effort", "low", "--min-sqnr", "5"))["kept"]
    code, _, err = kilnx(
        "quantize", files / "out.onnx", "-o", files / "b.onnx", "--data", files / "data.npz"
    )
    assert code == 2
    assert "quantized already" in err
    assert not (files / "b.onnx").exists()
