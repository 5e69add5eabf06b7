"""What a device decides by its costs is what this machine decides by the same."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter import compress, prune
from quantizers import quantize
from runtimes import DataError, Device, RuntimeUnavailable
from runtimes.agent.server import AgentOptions, AgentServer, running
from runtimes.costs import CostTable, open_costs
from runtimes.costs.machine import Machine

TOKEN = "a token that only tests know"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentServer]:
    with running(AgentOptions(port=0, token=TOKEN, cache=tmp_path / "parts")) as server:
        yield server


@pytest.fixture
def device(agent: AgentServer) -> Device:
    return Device(agent.address, TOKEN)


def decided(folder: Path) -> Any:
    report = json.loads((folder / "report.json").read_text())
    steps = [(step["name"], step["kept"]) for step in report["steps"]]
    return steps, report["costs"]["digest"], (folder / "model.onnx").read_bytes()


def test_compress_decides_there_as_it_decides_here(
    agent: AgentServer, device: Device, residual_model: ir.Model, images: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "steps": ("quantize",), "effort": "low", "min_sqnr": 5.0, "stress": "none",
        "prefer": "size",  # so that no race decides, which two runs may end differently
    }  # fmt: skip
    compress(residual_model, tmp_path / "here", {"x": images}, **options)
    compress(residual_model, tmp_path / "there", {"x": images}, device=device, **options)
    assert decided(tmp_path / "there") == decided(tmp_path / "here")
    report = json.loads((tmp_path / "there/report.json").read_text())
    assert any(f"those of the device {device}" in note for note in report["notes"])
    gc.collect()
    assert not agent.jobs._jobs  # all were ended


@pytest.mark.slow
def test_quantize_and_prune_judge_there(
    agent: AgentServer, device: Device, residual_model: ir.Model, images: Any, tmp_path: Path
) -> None:
    asked = agent.jobs.start
    started: list[str] = []
    agent.jobs.start = lambda name: started.append(name) or asked(name)  # type: ignore
    report = quantize(
        residual_model,
        tmp_path / "q.onnx",
        {"x": images},
        effort="low",
        stress="none",
        min_sqnr=5.0,
        prefer="size",
        device=device,
    )
    assert report.kept, report.reason
    assert len(started) >= 3  # costs, judging, the race
    before = len(started)
    pruned = prune(
        residual_model,
        tmp_path / "p.onnx",
        {"x": images},
        flops=0.95,
        min_sqnr=1.0,
        min_agreement=0.0,
        stress="none",
        effort="low",
        device=device,
    )
    assert pruned.kept, pruned.reason
    assert len(started) >= before + 3
    gc.collect()  # what ends the process that measured costs
    assert not agent.jobs._jobs


def test_a_table_of_another_machine_than_the_device_is_named(device: Device) -> None:
    other = CostTable(Machine("another", (), "1", 1), {"matmul": 1.0, "add": 1.0}, 1.0)
    costs = open_costs(other, bench=device.workbench())
    assert "another machine (another" in costs.notes[0]
    trusted = open_costs(other, bench=device.workbench(), trust=True)
    assert trusted.table.machine.cpu == "another"


def test_a_device_that_is_away_is_named_first(residual_model: ir.Model, tmp_path: Path) -> None:
    away = Device("127.0.0.1:1", TOKEN, patience=0.1)
    data = {"x": np.zeros((40, 3, 12, 12), np.float32)}
    for act in (compress, quantize, prune):
        with pytest.raises(RuntimeUnavailable, match=r"the device 127.0.0.1:1 is not reached"):
            act(residual_model, tmp_path / "out", data, device=away)
        with pytest.raises(DataError, match=r"give a runtimes.Device\('pi:8714'\)"):
            act(residual_model, tmp_path / "out", data, device="pi:8714")
    assert list(tmp_path.iterdir()) == []
