"""``kilnx race``: table, JSON, page and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

Kilnx = Callable[..., tuple[int, str, str]]

FAST = ("--engines", "cpu", "--threads", "1", "--large-batch", "2")


@pytest.fixture(autouse=True)
def short_races(monkeypatch: pytest.MonkeyPatch) -> None:
    """One launch of moments: no test here depends on who wins."""
    module = import_module("runtimes.racing.race")
    race = module.race

    def briefly(*models: Any, options: Any, **others: Any) -> Any:
        return race(*models, options=replace(options, launches=1, min_time=0.01), **others)

    monkeypatch.setattr(module, "race", briefly)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    text = (
        '<ir_version: 10, opset_import: ["" : 18]> net (float[n, 4] x) => (float[n, 4] y)'
        "{ y = Softmax(x) }"
    )
    path = tmp_path / "net.onnx"
    ir.save(ir.from_proto(onnx.parser.parse_model(text)), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32))
    return path


def test_a_table_a_recommendation_and_a_page(
    kilnx: Kilnx, model: Path, data: Path, tmp_path: Path
) -> None:
    page = tmp_path / "race.html"
    code, out, err = kilnx("race", model, "--data", data, *FAST, "--html", page, "--quiet")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("ship net.onnx on cpu with 1 thread: nothing else stays inside")
    assert lines[1].split()[:4] == ["file", "engine", "same", "ok"]
    assert lines[2].split()[:5] == ["net.onnx", "cpu", "×1", "*", "100.0%"]
    assert all(len(line) <= 80 for line in lines[1:3])
    assert "net.onnx on cpu" in page.read_text(encoding="utf-8")
    # A page of the user's own is never replaced, one of an earlier race with --force.
    assert kilnx("race", model, "--data", data, *FAST, "--html", page)[0] == 2
    own = tmp_path / "own.html"
    own.write_text("<h1>mine</h1>")
    code, _, err = kilnx("race", model, "--data", data, *FAST, "--html", own, "--force")
    assert code == 2
    assert own.read_text() == "<h1>mine</h1>"


def test_json_and_nothing_inside_the_budget(kilnx: Kilnx, model: Path, data: Path) -> None:
    code, out, _ = kilnx(
        "race", model, "--data", data, *FAST, "--min-agreement", 1.5, "--json", "--quiet"
    )
    found = json.loads(out)
    assert code == 1
    assert (found["passed"], found["recommended"]) == (False, None)
    (entry,) = found["entries"]
    assert entry["agreement"] == 1.0
    assert entry["latency"]["p50_ms"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--engines", "cpuu"), 3, "did you mean 'cpu'"),
        (("--threads", "none"), 2, "--threads 'none'"),
        (("--rank-by", "latncy"), 2, "did you mean 'latency'"),
        (("--metric", "top11"), 2, "top1"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    kilnx: Kilnx, model: Path, data: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    found, out, err = kilnx("race", model, "--data", data, *arguments)
    assert (found, out) == (code, "")
    assert says in err


def test_files_that_are_not_there(kilnx: Kilnx, model: Path, data: Path, tmp_path: Path) -> None:
    code, _, err = kilnx("race", model, tmp_path / "none.onnx", "--data", data)
    assert code == 2
    assert "none.onnx: no such file" in err
    assert kilnx("race", model, "--data", tmp_path / "none.npz")[0] == 2
