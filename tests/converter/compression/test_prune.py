"""``prune``: targets, budgets, decisions, and input that is not as it should be."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from random_graphs import Builder

from converter import convert, prune
from converter.passes import optimize
from converter.pruning import Pruned, PruneOptions, prune_model
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import save_model
from runtimes.parity.budget import Budget

Kilnx = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(digits_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prune") / "model.onnx"
    convert(digits_model, path)
    return path


@pytest.fixture(scope="module")
def pruned(model: Path, digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of a run with a target that leaves room, and its file."""
    train, test = digits
    path = tmp_path_factory.mktemp("pruned") / "p.onnx"
    budget: dict[str, Any] = {"metric": "top1", "max_drop": 0.1, "flops": 0.6}
    return prune(model, path, train, evaluate_on=test, **budget), path


def accuracy(path: Path, samples: dict[str, Any]) -> float:
    (scores,) = onnxruntime.InferenceSession(path).run(None, {"image": samples["image"]})
    return float(np.mean(np.argmax(scores, axis=1) == samples["labels"]))


def test_the_target_is_met_inside_the_budget(model: Path, pruned: Any, digits: Any) -> None:
    report, path = pruned
    assert report.kept
    assert report.reached
    assert report.after.macs <= 0.6 * report.before.macs
    assert accuracy(model, digits[1]) - accuracy(path, digits[1]) <= 0.1
    assert path.stat().st_size < model.stat().st_size
    assert report.parity["passed"]


def test_the_interface_stays(model: Path, pruned: Any) -> None:
    def interface(path: Path) -> Any:
        graph = ir.load(path).graph
        return [[(v.name, v.dtype, v.shape) for v in vs] for vs in (graph.inputs, graph.outputs)]

    assert interface(pruned[1]) == interface(model)


def test_the_report_tells_what_went_where(pruned: Any) -> None:
    report, path = pruned
    json.dumps(report.to_dict(), allow_nan=False)
    rows = {row["layers"]: row for row in report.rows()}
    assert any(int(row["left"]) < int(row["channels"]) for row in rows.values())
    assert "output" in rows["digit"]["stays because"]
    channels = {group.layers[0]: group.after for group in report.groups}
    for node in ir.load(path).graph:
        layer = node.metadata_props.get("kilnx.layer")
        if (
            node.op_type == "Conv"
            and node.attributes.get_int("group", 1) == 1
            and layer in channels
        ):
            assert node.inputs[1].const_value.shape[0] == channels[layer]
    assert report.tried
    assert any(tried.passed for tried in report.tried)


def test_decisions_are_replayed_to_the_same_bytes(
    model: Path, pruned: Any, digits: Any, tmp_path: Path
) -> None:
    report, path = pruned
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    again = prune(
        model,
        tmp_path / "p.onnx",
        digits[0],
        evaluate_on=digits[1],
        metric="top1",
        max_drop=0.1,
        decisions=tmp_path / "report.json",
    )
    assert again.plan == report.plan
    assert (tmp_path / "p.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"plan": {"nothing": 3}}', "another model"),
        ('{"plan": [3]}', "not a report"),
        ("{", "not a report"),
    ],
)
def test_decisions_that_do_not_fit(
    model: Path, digits: Any, tmp_path: Path, content: str, complaint: str
) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(DataError, match=complaint):
        prune(model, None, digits[0], decisions=tmp_path / "report.json")
    with pytest.raises(DataError, match="cannot be read"):
        prune(model, None, digits[0], decisions=tmp_path / "missing.json")


def test_a_budget_that_allows_nothing(
    kilnx: Kilnx, model: Path, digits: Any, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", image=digits[0]["image"][:200])
    arguments = ["prune", model, "-o", tmp_path / "p.onnx", "--data", tmp_path / "d.npz", "--json"]
    code, out, _ = kilnx(*arguments, "--min-sqnr", "200")
    report = json.loads(out)
    assert (code, report["kept"]) == (0, False)
    assert "the budget allows no cut" in report["reason"]
    assert (tmp_path / "p.onnx").exists()
    code, out, _ = kilnx(*arguments, "--force", "--min-sqnr", "200", "--params", "0.5")
    assert (code, json.loads(out)["reached"]) == (1, False)


@pytest.mark.parametrize("mild", [True, False])
def test_what_other_data_refuse_is_tried_milder(
    mild: bool, model: Path, pruned: Any, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless = optimize(ir.load(model))
    broken = harmless.clone()
    for value in broken.graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT:
            value.const_value = ir.tensor(np.zeros_like(value.const_value.numpy()))
    less_aggressive = Pruned(harmless, harmless, replace(pruned[0], notes=("mild",)))
    still_broken = Pruned(broken, harmless, pruned[0], (lambda: less_aggressive) if mild else None)
    found = Pruned(broken, harmless, pruned[0], lambda: still_broken)
    monkeypatch.setattr(
        sys.modules["converter.compression.prune"], "prune_model", lambda *_, **options: found
    )
    report = prune(model, None, digits[0], evaluate_on=digits[1], metric="top1", flops=0.6)
    assert report.kept == report.reached == mild
    if mild:
        assert "mild" in report.notes
        assert any("judged first: outside the budget" in note for note in report.notes)
    else:
        assert report.reason.startswith("outside the budget")


def test_no_data(kilnx: Kilnx, model: Path, tmp_path: Path) -> None:
    code, out, _ = kilnx("prune", model, "-o", tmp_path / "p.onnx", "--json")
    report = json.loads(out)
    assert (code, report["kept"]) == (0, False)
    assert "no data" in report["reason"]
    assert any("no data" in note for note in report["notes"])


def two_outputs(tmp_path: Path) -> Path:
    build = Builder(0)
    hidden = build.op("Relu", build.op("MatMul", build.input(["N", 4]), build.weight(4, 8)))
    first = build.op("MatMul", hidden, build.weight(8, 2))
    second = build.op("MatMul", build.op("Tanh", hidden), build.weight(8, 3))
    save_model(build.model(first, second), tmp_path / "two.onnx")
    return tmp_path / "two.onnx"


def test_outputs_that_nobody_asked_for(kilnx: Kilnx, tmp_path: Path) -> None:
    source = two_outputs(tmp_path)
    code, out, _ = kilnx("prune", source, "-o", tmp_path / "p.onnx", "--outputs", "y1", "--json")
    assert code == 0
    assert [output.name for output in ir.load(tmp_path / "p.onnx").graph.outputs] == ["y1"]
    kinds = {item["kind"] for item in json.loads(out)["exact"]}
    assert "output" in kinds
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    want, got = (
        onnxruntime.InferenceSession(path).run(["y1"], {"x": x})[0]
        for path in (source, tmp_path / "p.onnx")
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    code, _, err = kilnx("prune", source, "-o", tmp_path / "q.onnx", "--outputs", "z")
    assert code == 2
    assert "'y0', 'y1'" in err


@pytest.mark.parametrize(
    "options", [{"flops": 0.5, "params": 0.5}, {"latency": 1.5}, {"flops": 0.0}]
)
def test_targets_that_make_no_sense(model: Path, digits: Any, options: dict[str, float]) -> None:
    with pytest.raises(DataError, match="target"):
        prune(model, None, digits[0], **options)  # type: ignore[arg-type]


def test_a_model_with_nothing_to_prune(tmp_path: Path) -> None:
    build = Builder(0)
    build.model(build.op("MatMul", build.input(["N", 4]), build.weight(4, 3)))
    model = ir.Model(build.graph, ir_version=9)
    report = prune(model, tmp_path / "p.onnx", {"x": np.zeros((50, 4), np.float32)})
    assert not report.kept
    assert "no channel of this model can go" in report.reason


def test_too_few_samples(model: Path, digits: Any) -> None:
    report = prune(model, None, {"image": digits[0]["image"][:6]})
    assert not report.kept
    assert "3 samples" in report.reason


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    model = ir.from_onnx_text(
        """
        <ir_version: 9, opset_import: ["" : 18]>
        g (float[N, 4] x) => (float[N, 4] y) <float s = {0.1}, uint8 z = {0}> {
            q = QuantizeLinear(x, s, z)
            y = DequantizeLinear(q, s, z)
        }
        """
    )
    with pytest.raises(ModelError, match="quantized"):
        prune(model, None, {"x": np.zeros((50, 4), np.float32)})


def test_weights_that_are_nan_are_named(
    kilnx: Kilnx, model: Path, digits: Any, tmp_path: Path
) -> None:
    graph = ir.load(model)
    name, value = next(
        (name, value) for name, value in graph.graph.initializers.items() if len(value.shape) == 4
    )
    array = value.const_value.numpy().copy()
    array[1, 0, 2, 0] = np.nan
    value.const_value = ir.tensor(array, name=name)
    ir.save(graph, tmp_path / "nan.onnx")
    np.savez(tmp_path / "d.npz", image=digits[0]["image"][:40])
    for data in ([], ["--data", tmp_path / "d.npz"]):
        code, _, err = kilnx("prune", tmp_path / "nan.onnx", "-o", tmp_path / "p.onnx", *data)
        assert code == 2
        assert "nan.onnx" in err
        assert f"{name!r} hold NaN at [1, 0, 2, 0]" in err
        assert not (tmp_path / "p.onnx").exists()


def test_the_model_that_is_passed_in_stays_as_it_is(model: Path, digits: Any) -> None:
    graph = optimize(ir.load(model))
    before = ir.to_proto(graph).SerializeToString(deterministic=True)
    result = prune_model(graph, None, Budget(None, 0.01, 0.99, 20.0), options=PruneOptions())
    assert not result.report.kept
    assert ir.to_proto(graph).SerializeToString(deterministic=True) == before


def test_only_the_data_that_judge_need_labels(model: Path, digits: Any) -> None:
    train, test = digits
    bare = {name: values for name, values in train.items() if name != "labels"}
    report = prune(model, None, bare, evaluate_on=test, max_drop=0.1, flops=0.8)
    assert report.parity["metrics"][0]["name"] == "top1"
    assert "the labels judge by top1; name another metric to change that" in report.notes
