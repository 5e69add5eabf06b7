"""``kilnx inspect``: one file, two side by side, and what it says of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from graph_fixtures import graph  # noqa: F401

pytestmark = pytest.mark.fast

Kilnx = Callable[..., tuple[int, str, str]]
Graph = Callable[..., ir.Model]

TABLE = np.arange(2048, dtype=np.float32).reshape(256, 8) / 999


@pytest.fixture
def tied(
    graph: Graph,  # noqa: F811
    tmp_path: Path,
) -> Path:
    body = "e = Gather(table, x) t = Transpose(table) y = MatMul(e, t)"
    model = graph("(int64[n] x) => (float[n, 256] y)", body, table=TABLE)
    ir.save(model, tmp_path / "tied.onnx")
    return tmp_path / "tied.onnx"


@pytest.fixture
def codes(
    graph: Graph,  # noqa: F811
    tmp_path: Path,
) -> Path:
    body = "w = DequantizeLinear(q, s) y = MatMul(x, w)"
    model = graph(
        "(float[n, 256] x) => (float[n, 8] y)",
        body,
        q=(TABLE * 50).astype(np.int8),
        s=np.float32(0.02),
    )
    ir.save(model, tmp_path / "codes.onnx")
    return tmp_path / "codes.onnx"


def test_one_file(kilnx: Kilnx, tied: Path) -> None:
    code, out, err = kilnx("inspect", tied)
    assert (code, err) == (0, "")
    first, *lines = out.splitlines()
    assert first.startswith(f"{tied}: ")
    assert "2,048 parameters, 3 nodes" in first
    assert "inputs   x: int64[n]" in lines
    assert "tied weights, read in several places: table (Gather, Transpose)" in out
    assert not any(line.startswith("MatMul") for line in lines)


def test_two_files_side_by_side(kilnx: Kilnx, tied: Path, codes: Path) -> None:
    _, out, _ = kilnx("inspect", tied, codes, "--operators")
    lines = [line.split() for line in out.splitlines()]
    assert ["tied.onnx", "codes.onnx"] in lines
    assert ["parameters", "2,048", "2,049"] in lines
    assert f"inputs   {codes}: x: float32[n, 256]" in out.splitlines()
    assert f"{codes}: weights held as codes, activations in float: 1 MatMul" in out
    assert ["Gather", "1", "1"] in lines


def test_json_has_the_same(kilnx: Kilnx, tied: Path) -> None:
    code, out, _ = kilnx("inspect", tied, "--json")
    (found,) = json.loads(out)["models"]
    assert code == 0
    assert found["operators"] == {"Gather": 1, "MatMul": 1, "Transpose": 1}
    assert found["weights"] == {"float32": TABLE.nbytes}
    assert found["opsets"] == {"ai.onnx": 18}


def test_what_cannot_be_run_is_inspected_all_the_same(
    kilnx: Kilnx,
    graph: Graph,  # noqa: F811
    tmp_path: Path,
) -> None:
    model = graph("(float[n] x) => (float[n] y)", "y = Relu(x)")
    model.graph[0].domain, model.graph[0].op_type = "acme", "Unheard"
    model.graph.opset_imports["acme"] = 1
    ir.save(model, tmp_path / "custom.onnx")
    code, out, _ = kilnx("inspect", tmp_path / "custom.onnx", "--operators")
    assert code == 0
    assert "acme.Unheard" in out
    assert "note: ONNX Runtime does not open it" in out


def test_three_files_are_too_many(kilnx: Kilnx, tied: Path) -> None:
    code, out, err = kilnx("inspect", tied, tied, tied)
    assert (code, out) == (2, "")
    assert "one file or two" in err


def test_an_error_is_a_document_too(kilnx: Kilnx, tmp_path: Path) -> None:
    code, out, err = kilnx("inspect", tmp_path / "no.onnx", "--json")
    error: dict[str, Any] = json.loads(out)["error"]
    assert code == error["exit_code"] == 2
    assert error["kind"] == "ModelError"
    assert error["message"] in err


def test_wrong_usage_is_a_document_too(kilnx: Kilnx) -> None:
    code, out, _ = kilnx("inspect", "--json", "--bogus")
    error = json.loads(out)["error"]
    assert (code, error["kind"]) == (2, "Usage")
    assert "--bogus" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["convert", "m.keras", "-o", "m.onnx", "--layout", "nhcw"], "nhwc"),
        (["quantize", "m.onnx", "-o", "o.onnx", "--data", "d.npz", "--target-cpu", "vni"], "vnni"),
        (["compress", "m.onnx", "-o", "o", "--data", "d.npz", "--prefer", "sped"], "speed"),
    ],
)
def test_a_choice_that_does_not_exist_names_the_one_that_was_meant(
    kilnx: Kilnx, arguments: list[str], meant: str
) -> None:
    code, _, err = kilnx(*arguments)
    assert code == 2
    assert f"did you mean '{meant}'?" in err
