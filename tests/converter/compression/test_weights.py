"""The step of ``compress`` that stores weights in fewer bits, and what reads such files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from converter import compress, dedupe, prune
from quantizers import quantize
from runtimes import check, profile
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import write_model

RNG = np.random.default_rng(0)
SAMPLES = (RNG.normal(size=(256, 10)) @ RNG.normal(size=(10, 64))).astype(np.float32)
TEXT = """
    g (float[N, 64] x, float[64, 96] w, float[96, 48] v) => (float[N, 48] y)
    {
        [first] p = MatMul (x, w)
        [act] r = Tanh (p)
        [second] y = MatMul (r, v)
    }
"""
WEIGHTS = {
    "w": RNG.normal(size=(64, 96)).astype(np.float32) / 8,
    "v": RNG.normal(size=(96, 48)).astype(np.float32) / 8,
}
LOOSE = {"min_agreement": 0.8, "min_sqnr": 15.0, "threads": 1}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from quantizer_fixtures import _graph

    path = tmp_path_factory.mktemp("weights") / "net.onnx"
    write_model(_graph(TEXT, WEIGHTS), path)
    np.savez(path.with_name("data.npz"), x=SAMPLES)
    return path


@pytest.fixture(scope="module")
def small(file: Path) -> Path:
    """What compress made of it, by that step alone."""
    folder = file.with_name("small")
    compress(file, folder, file.with_name("data.npz"), steps=["weights"], prefer="size", **LOOSE)
    return folder


def test_the_file_shrinks_inside_the_budget(small: Path) -> None:
    report = json.loads((small / "report.json").read_text())
    (step,) = report["steps"]
    assert step["kept"]
    assert step["reason"].endswith("clusters)") or "int" in step["reason"]
    assert {one["name"] for one in step["details"]["weights"]} == {"w", "v"}
    assert {one["layer"] for one in step["details"]["weights"]} == {"first", "second"}
    sizes = [(small / name).stat().st_size for name in ("fp32.onnx", "model.onnx")]
    assert step["size_bytes"] == sizes[1]
    assert sizes[1] < 0.3 * sizes[0]
    assert report["result"]["sqnr_db"] >= 15


def test_the_decisions_give_the_same_bytes(file: Path, small: Path, tmp_path: Path) -> None:
    compress(
        file,
        tmp_path / "again",
        file.with_name("data.npz"),
        steps=["weights"],
        decisions=small / "report.json",
        **LOOSE,
    )
    again = (tmp_path / "again" / "model.onnx").read_bytes()
    assert again == (small / "model.onnx").read_bytes()


def test_a_tight_budget_keeps_more_bits(file: Path, small: Path, tmp_path: Path) -> None:
    tight = {"min_agreement": 0.0, "min_sqnr": 35.0, "threads": 1, "prefer": "size"}
    compress(file, tmp_path / "out", file.with_name("data.npz"), steps=["weights"], **tight)
    size = (tmp_path / "out" / "model.onnx").stat().st_size
    assert (small / "model.onnx").stat().st_size < size < 0.5 * file.stat().st_size


def test_speed_does_without(file: Path, tmp_path: Path) -> None:
    report = compress(
        file,
        tmp_path / "out",
        file.with_name("data.npz"),
        steps=["weights"],
        prefer="speed",
        costs="none",
        **LOOSE,
    )
    assert [(step.name, step.kept) for step in report.steps] == [("weights", False)]
    assert "no faster" in report.steps[0].reason


def test_other_commands_read_such_a_file(file: Path, small: Path, tmp_path: Path) -> None:
    found = check(file, small / "model.onnx", file.with_name("data.npz"), layers=True, **LOOSE)
    assert found.passed
    assert found.layers is not None
    assert "second" in {layer.layer for layer in found.layers.layers}
    report = profile(small / "model.onnx", data=file.with_name("data.npz"), threads=1)
    assert report.batches[0].model.p50_ms > 0
    dedupe(small / "model.onnx", tmp_path / "deduped.onnx")
    size = (tmp_path / "deduped.onnx").stat().st_size
    assert size <= 1.05 * (small / "model.onnx").stat().st_size  # value types are written
    again = check(small / "model.onnx", tmp_path / "deduped.onnx", file.with_name("data.npz"))
    assert again.passed


@pytest.mark.parametrize(
    "command",
    [
        lambda model, data, out: prune(model, out, data),
        lambda model, data, out: quantize(model, out, data),
        lambda model, data, out: compress(model, out, data),
    ],
)
def test_commands_that_start_from_floats_refuse_it(
    command: Callable[..., object], file: Path, small: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"few bits already.*compress the float model"):
        command(small / "model.onnx", file.with_name("data.npz"), tmp_path / "out.onnx")


def test_an_int8_file_can_have_fewer_bits(file: Path, tmp_path: Path) -> None:
    int8 = tmp_path / "int8.onnx"
    data = file.with_name("data.npz")
    quantize(file, int8, data, prefer="size", **LOOSE)
    assert any(node.op_type == "QuantizeLinear" for node in ir.load(int8).graph)
    report = compress(int8, tmp_path / "out", data, steps=["weights"], prefer="size", **LOOSE)
    assert report.steps[0].kept
    assert (tmp_path / "out/model.onnx").stat().st_size < 0.8 * int8.stat().st_size
