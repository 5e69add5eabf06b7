"""``kilnx costs``, and ``--costs`` of the commands that search."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.costs import CostTable
from runtimes.costs.machine import this_machine

Kilnx = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_table_is_written_and_extended(kilnx: Kilnx, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    code, out, _ = kilnx("costs", "measure", model, "-o", table)
    assert code == 0
    assert "ms at batch 1 predicted" in out
    assert f"use it with --costs {table}" in out.replace("\n", " ")
    first = CostTable.read(table)
    assert first.machine == this_machine(1)
    assert kilnx("costs", "measure", model, "-o", table, "--batch", "1,8")[0] == 0
    second = CostTable.read(table)
    assert set(first) < set(second)
    assert all(second.readings[name] == first.readings[name] for name in first)
    assert f"{len(second)} kernels" in kilnx("costs", "show", table)[1]
    assert f"{len(second)} kernels" in kilnx("costs", "show")[1]


def test_the_report_is_json(kilnx: Kilnx, model: Path) -> None:
    code, out, _ = kilnx("costs", "measure", model, "--json")
    assert code == 0
    (report,) = json.loads(out)["models"]
    (prediction,) = report["predictions"]
    parts = sum(one["microseconds"] for one in prediction["kernels"])
    assert 0 < parts < prediction["microseconds"]


def test_another_file_is_not_replaced(kilnx: Kilnx, model: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    code, _, err = kilnx("costs", "measure", model, "-o", notes)
    assert code == 2
    assert "is not a cost table" in err
    assert notes.read_text() == "mine"
    code, _, err = kilnx("costs", "measure", model, "-o", tmp_path / "no" / "table.json")
    assert code == 2
    assert "create it first" in err


def test_what_is_no_model_is_one_line(kilnx: Kilnx, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("nothing of the kind")
    code, _, err = kilnx("costs", "measure", tmp_path / "a.onnx", "--quiet")
    assert code == 2
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["quantize", "prune", "compress"])
def test_a_given_table_is_read_first(
    kilnx: Kilnx, model: Path, tmp_path: Path, command: str
) -> None:
    table = tmp_path / "table.json"
    table.write_text('{"format": "kilnx.costs"')
    data = tmp_path / "data.npz"
    code, _, err = kilnx(command, model, "-o", tmp_path / "out", "--data", data, "--costs", table)
    assert code == 2
    assert "table.json is not a cost table" in err
    assert not (tmp_path / "out").exists()


def test_a_table_of_another_machine_is_named(kilnx: Kilnx, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    kilnx("costs", "measure", model, "-o", table)
    document = json.loads(table.read_text())
    document["machine"]["cpu"] = "another CPU"
    table.write_text(json.dumps(document))
    arguments = ("quantize", model, "-o", tmp_path / "q.onnx", "--data", tmp_path / "data.npz")
    code, out, _ = kilnx(*arguments, "--costs", table, "--min-sqnr", "5")
    assert code == 0
    assert "note: the cost table is of another machine (another CPU" in " ".join(out.split())
    code, out, _ = kilnx(*arguments, "--costs", table, "--trust-costs", "--force")
    assert code == 0
    assert "note: the costs are those of another CPU" in " ".join(out.split())
