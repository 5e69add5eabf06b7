"""A defect in prune, quantize or dedupe: what is sound is written, and the exit code is 0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from converter import dedupe, prune
from converter.compression import dedupe as dedupe_room
from converter.compression import prune as prune_room
from converter.compression import quantize as quantize_room
from converter.compression import simplify
from quantizers import quantize
from runtimes import check
from runtimes.defects import STRICT
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import load_model, write_model


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it."""
    monkeypatch.delenv(STRICT)


def planted(*_: Any, **__: Any) -> Any:
    raise IndexError("planted: list index out of range")


@pytest.fixture
def network(graph: Any, tmp_path: Path) -> Path:
    """The third hidden channel is never positive: it goes without changing anything."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(8, 16)).astype(np.float32),
        "b": np.zeros(16, np.float32),
        "v": rng.normal(size=(16, 4)).astype(np.float32),
        "u": rng.normal(size=(16, 4)).astype(np.float32),
    }
    weights["w"][:, 2], weights["b"][2] = 0, -1
    weights["u"][:] = weights["v"]
    text = """g (float[N, 8] x, float[8, 16] w, float[16] b, float[16, 4] v, float[16, 4] u)
        => (float[N, 4] y) {
        a = MatMul(x, w)  c = Add(a, b)  d = Relu(c)
        e = MatMul(d, v)  f = MatMul(d, u)  g = Tanh(f)  y = Add(e, g) }"""
    write_model(graph(text, weights), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32))
    return path


def same(network: Path, output: Path) -> bool:
    x = np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32)
    found = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for path in (network, output)
    ]
    return np.allclose(found[0][0], found[1][0], rtol=0, atol=1e-5)


def hidden(path: Path) -> set[int]:
    return {
        value.shape[-1]
        for value in load_model(path).graph.initializers.values()
        if value.shape is not None and value.shape.rank() == 2 and value.shape[0] == 8
    }


@pytest.mark.parametrize("function", ["prune_model", "check", "profile"])
def test_where_pruning_fails_only_what_changes_nothing_goes(
    function: str, network: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = getattr(prune_room, function)
    failures = iter([planted])  # once: the lossless part is judged, too

    def fails(*arguments: Any, **named: Any) -> Any:
        return next(failures, kept)(*arguments, **named)

    monkeypatch.setattr(prune_room, function, fails)
    report = prune(
        network, tmp_path / "o.onnx", samples, flops=0.5, min_sqnr=-1000, min_agreement=0
    )
    assert not report.kept
    assert not report.reached
    assert [one.part for one in report.defects] == ["pruning"]
    assert "IndexError: planted" in report.reason
    assert [one.channels for one in report.exact] == [1]
    assert hidden(tmp_path / "o.onnx") == {15}
    assert same(network, tmp_path / "o.onnx")


@pytest.mark.parametrize(
    ("also", "parts"),
    [
        ("remove_dead", ["pruning", "lossless pruning"]),
        ("check", ["pruning", "judging lossless pruning"]),
    ],
)
def test_where_that_fails_too_the_model_stays_as_it_is(
    also: str,
    parts: list[str],
    network: Path,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prune_room, "prune_model", planted)
    monkeypatch.setattr(prune_room, also, planted)
    if also == "remove_dead":
        monkeypatch.setattr(
            prune_room, "_judge_exact", lambda reference, pruned, *_: (pruned.exact, pruned.report)
        )
    report = prune(network, tmp_path / "o.onnx", samples)
    assert [one.part for one in report.defects] == parts
    assert report.exact == ()
    assert hidden(tmp_path / "o.onnx") == {16}
    assert same(network, tmp_path / "o.onnx")


@pytest.mark.parametrize("function", ["quantize_model", "check", "profile", "_decide"])
def test_where_quantization_fails_the_float_model_is_written(
    function: str, network: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize_room, function, planted)
    report = quantize(network, tmp_path / "o.onnx", samples, effort="low")
    assert not report.kept
    assert "IndexError: planted" in report.reason
    assert [one.part for one in report.defects] == ["quantization"]
    assert "in planted" in report.defects[0].traceback
    assert same(network, tmp_path / "o.onnx")


def test_a_graph_that_cannot_be_simplified_is_taken_as_it_is(
    network: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_done(model: ir.Model) -> ir.Model:
        model.graph.remove(model.graph[-1])
        return planted()

    monkeypatch.setattr(simplify, "optimize", half_done)
    report = quantize(network, tmp_path / "o.onnx", samples, effort="low", min_sqnr=10)
    assert [one.part for one in report.defects] == ["simplifying the graph"]
    assert check(network, tmp_path / "o.onnx", samples, min_sqnr=10).passed


@pytest.mark.parametrize("command", ["prune", "quantize"])
def test_the_command_ends_well_and_says_so(
    command: str,
    network: Path,
    samples: Path,
    tmp_path: Path,
    kilnx: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prune_room, "prune_model", planted)
    monkeypatch.setattr(quantize_room, "quantize_model", planted)
    arguments = [command, network, "-o", tmp_path / "o.onnx", "--data", samples]
    target = ["--flops", "0.5"] if command == "prune" else []
    code, out, _ = kilnx(*arguments, *target)
    assert code == 0
    assert out.count("IndexError: planted") == 1
    assert "please report it" in out
    code, out, _ = kilnx(*arguments, "--force", "--json")
    assert code == 0
    (defect,) = json.loads(out)["defects"]
    assert "in planted" in defect["traceback"]


@pytest.mark.parametrize("command", [prune, quantize])
def test_a_refusal_and_the_callers_own_error_end_the_command(
    command: Any,
    network: Path,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise DataError("the data lead to NaN")

    def stop(stage: str, *_: Any) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        command(network, tmp_path / "o.onnx", samples, progress=stop)
    monkeypatch.setattr(prune_room, "prune_model", refuse)
    monkeypatch.setattr(quantize_room, "quantize_model", refuse)
    with pytest.raises(DataError, match="NaN"):
        command(network, tmp_path / "o.onnx", samples)
    assert not (tmp_path / "o.onnx").exists()


def test_where_deduplication_fails_the_model_is_written_as_it_is(
    network: Path, tmp_path: Path, kilnx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedupe_room, "deduplicate_all", planted)
    code, out, _ = kilnx("dedupe", network, "-o", tmp_path / "o.onnx")
    assert code == 0
    assert "IndexError: planted" in out
    assert "no two tensors are equal" not in out
    assert same(network, tmp_path / "o.onnx")


def test_where_merging_near_duplicates_fails_the_equal_ones_are_merged(
    network: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedupe_room, "merge_near", planted)
    report: Any = dedupe(network, tmp_path / "o.onnx", near=0.1, data=samples)
    assert [one.part for one in report.defects] == ["merging near duplicates"]
    assert report.merged
    assert same(network, tmp_path / "o.onnx")


def test_where_the_walk_fails_check_has_its_verdict(
    network: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.parity.layers.compare_layers.compare_layers", planted)
    report = check(network, network, samples, layers=True)
    assert report.passed
    assert report.layers is None
    assert [one.part for one in report.defects] == ["the comparison of layers"]
