"""The commands write for a target, judge in its engine, and say what it cannot take."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter import compress, prune
from converter.compression import quantize as command
from converter.compression.targeted import fitted
from quantizers import quantize
from runtimes import DataError, ModelError, check, load_model, profile
from runtimes.base import Array
from runtimes.errors import RuntimeUnavailable
from runtimes.onnx_files.load_save import model_bytes, save_model
from runtimes.targets import find_target

Graph = Callable[..., ir.Model]
LOOSE: dict[str, Any] = {"min_sqnr": 3.0, "min_agreement": 0.0, "stress": "none"}
QUICK: dict[str, Any] = {**LOOSE, "effort": "low", "prefer": "size", "costs": "none"}


@pytest.fixture
def recurrent(graph: Graph) -> ir.Model:
    """An LSTM of which only the last state is used, and a dense layer."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> Array:
        return (0.3 * rng.normal(size=shape)).astype(np.float32)

    return graph(
        """recurrent (float[7, batch, 12] x, float[1, 96, 12] w, float[1, 96, 24] r,
                     float[1, 192] b, int64[1] first, float[24, 5] d) => (float[batch, 5] y)
        { moved = Identity (x)
          [lstm] , last = LSTM <hidden_size = 24> (moved, w, r, b)
          flat = Squeeze (last, first)
          y = MatMul (flat, d) }""".replace("[7, batch, 12]", "[batch, 7, 12]").replace(
            "Identity (x)", "Transpose <perm = [1, 0, 2]> (x)"
        ),
        {
            "w": weight(1, 96, 12),
            "r": weight(1, 96, 24),
            "b": weight(1, 192),
            "first": np.array([0], np.int64),
            "d": weight(24, 5),
        },
    )


@pytest.fixture
def sequences() -> dict[str, Array]:
    return {"x": np.random.default_rng(1).normal(size=(64, 7, 12)).astype(np.float32)}


def _kinds(path: Path) -> set[str]:
    return {f"{node.domain}.{node.op_type}" for node in load_model(path).graph}


def test_the_default_target_changes_no_byte(
    residual_model: ir.Model, images: Array, tmp_path: Path
) -> None:
    for name, target in (("a", None), ("b", "onnxruntime")):
        quantize(
            residual_model, tmp_path / f"{name}.onnx", {"image": images}, target=target, **QUICK
        )
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert load_model(tmp_path / "a.onnx").opset_imports[""] == 18


def test_int8_for_the_reference_evaluator_runs_and_is_judged_there(
    residual_model: ir.Model, images: Array, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    report = quantize(residual_model, path, {"image": images}, target="reference", **QUICK)
    assert report.kept
    assert report.to_dict()["target"] == "reference"
    assert report.parity is not None
    assert {one["provider"] for one in report.parity["outputs"]} == {"reference"}
    assert load_model(path).opset_imports[""] == 19
    assert any("measured in ONNX Runtime" in note for note in report.notes)


def test_an_lstm_keeps_its_operator_where_the_target_has_no_other(
    recurrent: ir.Model, sequences: dict[str, Array], tmp_path: Path
) -> None:
    for target, lstm in (
        ("onnxruntime", "com.microsoft.DynamicQuantizeLSTM"),
        ("reference", ".LSTM"),
    ):
        path = tmp_path / f"{target}.onnx"
        report = quantize(recurrent, path, sequences, target=target, **QUICK)
        assert report.kept
        assert lstm in _kinds(path)
    model = load_model(tmp_path / "reference.onnx")
    node = next(node for node in model.graph if node.op_type == "LSTM")
    makers = [value.producer() for value in node.inputs[1:3] if value is not None]
    assert [maker and maker.op_type for maker in makers] == ["DequantizeLinear"] * 2
    assert model_bytes(model) < 0.5 * model_bytes(recurrent)


def test_a_target_without_int8_gets_the_float_model_and_the_reason(
    residual_model: ir.Model, images: Array, tmp_path: Path
) -> None:
    report = quantize(residual_model, tmp_path / "m.onnx", {"image": images}, target="mnn", **QUICK)
    assert not report.kept
    assert "MNN reads no Q/DQ" in report.reason
    assert not any("QuantizeLinear" in kind for kind in _kinds(tmp_path / "m.onnx"))


def test_compress_leaves_out_what_the_target_cannot_take(
    residual_model: ir.Model, images: Array, tmp_path: Path
) -> None:
    report = compress(
        residual_model,
        tmp_path / "out",
        {"image": images},
        steps=("quantize", "weights"),
        target="ncnn",
        **LOOSE,
    )
    reasons = {step.name: step.reason for step in report.steps}
    assert "ncnn reads no Q/DQ" in reasons["quantize"]
    assert "pnnx unpacks weights of fewer bits" in reasons["weights"]
    assert not any(step.kept for step in report.steps)
    written = json.loads((tmp_path / "out/report.json").read_text())
    assert written["target"] == "ncnn"


def test_decisions_carry_their_target(
    residual_model: ir.Model, images: Array, tmp_path: Path
) -> None:
    data = {"image": images}
    report = quantize(residual_model, tmp_path / "1.onnx", data, target="reference", **QUICK)
    decisions = report.to_dict()
    again = quantize(residual_model, tmp_path / "2.onnx", data, decisions=decisions, **QUICK)
    assert again.target == "reference"
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()
    with pytest.raises(DataError, match="for the target 'reference', not for 'mnn'"):
        quantize(residual_model, None, data, decisions=decisions, target="mnn", **QUICK)


def test_pruning_judges_in_the_engine_of_the_target(
    residual_model: ir.Model, images: Array, tmp_path: Path
) -> None:
    report = prune(
        residual_model,
        tmp_path / "p.onnx",
        {"image": images},
        params=0.8,
        target="reference",
        effort="low",
        costs="none",
        **LOOSE,
    )
    assert report.to_dict()["target"] == "reference"
    assert report.parity is not None
    assert {one["provider"] for one in report.parity["outputs"]} == {"reference"}


def test_an_unknown_target_is_refused_before_anything_is_read() -> None:
    with pytest.raises(DataError, match="did you mean 'openvino'"):
        quantize("nowhere.onnx", None, "nothing.npz", target="openvin")


def test_an_engine_that_is_not_installed_is_said_with_what_installs_it(
    residual_model: ir.Model, images: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailable, match=r"'openvino' is judged there.*pip install"):
        quantize(residual_model, None, {"image": images}, target="openvino", **QUICK)


def test_a_target_and_a_provider_contradict_each_other(
    residual_model: ir.Model, images: Array
) -> None:
    with pytest.raises(DataError, match="leave --provider reference out"):
        profile(residual_model, target="mnn", provider="reference")
    with pytest.raises(DataError, match="leave --provider reference out"):
        check(
            residual_model, residual_model, {"image": images}, target="mnn", providers=["reference"]
        )


def test_check_runs_the_candidate_in_the_engine_of_the_target(
    residual_model: ir.Model, images: Array
) -> None:
    report = check(residual_model, residual_model, {"image": images[:4]}, target="reference")
    assert report.passed
    assert {one.provider for one in report.outputs} == {"reference"}


def test_a_file_outside_of_the_target_is_refused_with_its_node(
    graph: Graph, tmp_path: Path
) -> None:
    model = graph(
        """g (float[batch, 4, 4] x) => (float[batch] y)
        { [determinant] y = Det (x) }"""
    )
    save_model(model, tmp_path / "det.onnx")
    data = {"x": np.ones((2, 4, 4), np.float32)}
    with pytest.raises(ModelError, match=r"det\.onnx does not run.*'determinant' is a Det"):
        profile(tmp_path / "det.onnx", target="tensorrt")
    with pytest.raises(ModelError, match="'determinant' is a Det"):
        check(tmp_path / "det.onnx", tmp_path / "det.onnx", data, target="tensorrt")
    with pytest.raises(ModelError, match="'determinant' is a Det"):
        prune(tmp_path / "det.onnx", None, target="tensorrt")


def test_profile_measures_where_the_target_does(residual_model: ir.Model) -> None:
    report = profile(residual_model, target="reference", min_time=0.01)
    assert report.provider == "cpu"
    assert "measured in ONNX Runtime" in report.notes[0]


def test_outputs_that_are_left_out_get_names_where_the_target_needs_them(
    recurrent: ir.Model,
) -> None:
    (lstm,) = (node for node in recurrent.graph if node.op_type == "LSTM")
    assert not lstm.outputs[0].name
    kept = fitted(recurrent.clone(), find_target("onnxruntime"), int8=True)
    named = fitted(recurrent.clone(), find_target("tract"), int8=True)
    for model, expected in ((kept, False), (named, True)):
        (lstm,) = (node for node in model.graph if node.op_type == "LSTM")
        assert bool(lstm.outputs[0].name) is expected


def test_a_newer_opset_is_brought_down_to_what_the_target_opens(graph: Graph) -> None:
    model = graph("g (float[batch, 4] x) => (float[batch, 4] y) { y = Relu (x) }", opset=21)
    assert fitted(model, find_target("mnn"), int8=True).opset_imports[""] == 18


def test_int8_that_the_engine_of_the_target_does_not_run_is_given_up(
    residual_model: ir.Model, images: Array, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def parity(*_: Any) -> Any:
        raise ModelError("no addition of bytes")

    monkeypatch.setattr(command._Judge, "parity", parity)
    data = {"image": images}
    report = quantize(residual_model, tmp_path / "m.onnx", data, target="reference", **QUICK)
    assert not report.kept
    assert report.reason.endswith("does not run its INT8: no addition of bytes")
    with pytest.raises(ModelError):
        quantize(residual_model, None, data, **QUICK)
