"""A race on a device: its engines, its clock, and the reference here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, Device, RuntimeUnavailable, open_runtime, race
from runtimes.agent.limits import Limits
from runtimes.agent.server import AgentOptions, AgentServer, running
from runtimes.racing.options import RaceOptions

TOKEN = "a token that only tests know"
QUICK = {"thread_counts": [1], "launches": 1, "min_time": 0.001, "large_batch": 4}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    cache = tmp_path_factory.mktemp("agent")
    limits = Limits(requests_per_second=1e6, connections_each=64, jobs=3)
    with running(AgentOptions(port=0, token=TOKEN, cache=cache, limits=limits)) as server:
        yield server


@pytest.fixture
def device(agent: AgentServer) -> Device:
    return Device(agent.address, TOKEN, patience=10)


@pytest.fixture
def files(scaled: Callable[[float], ir.Model], saved: Callable[..., Path]) -> list[Path]:
    return [saved(scaled(scale), f"{scale}.onnx") for scale in (1.0, 2.0, -1.0)]


def test_more_entries_than_the_device_has_jobs_race_on_it(
    files: list[Path], scores: np.ndarray, device: Device, agent: AgentServer
) -> None:
    data = {"x": scores, "labels": scores.argmax(axis=1)}
    report = race(files, data, engines=["cpu", "reference"], device=device, **QUICK)
    found = {(one.file, one.provider): one for one in report.entries}
    assert len(found) == 6
    assert found["2.0.onnx", "cpu"].in_budget
    assert not found["-1.0.onnx", "reference"].in_budget
    for entry in report.entries:
        assert entry.latency is not None, entry.failed or entry.refused
        assert entry.latency.batch == 1
        assert entry.at_batch is not None
        assert entry.at_batch.batch == 4
        assert entry.load_ms is not None
        assert entry.load_ms > 0
    assert report.settings["device"] == str(device)
    assert f"raced on the device {device}" in report.notes
    assert report.passed


def test_an_engine_that_the_device_lacks_is_named(
    files: list[Path], scores: np.ndarray, device: Device
) -> None:
    with pytest.raises(RuntimeUnavailable, match="cpuu"):
        race(files, scores, engines=["cpuu"], device=device, **QUICK)


def test_what_is_timed_has_to_be_held_first(files: list[Path], device: Device) -> None:
    with device.open(files[0]) as runtime, pytest.raises(DataError, match="'sizes'"):
        runtime.time("sizes", 0.0)


def test_a_slice_of_time_has_an_end(files: list[Path], scores: np.ndarray, device: Device) -> None:
    with device.open(files[0]) as runtime:
        assert runtime.hold("one", {"x": scores[:1]}) > 0
        with pytest.raises(DataError, match="0 to 60 seconds"):
            runtime.time("one", 1e9)
        assert len(runtime.time("one", 0.0)) == 1
        assert 0 <= runtime.disturbed() <= 1


def test_a_device_runs_what_this_machine_runs(
    files: list[Path], scores: np.ndarray, device: Device
) -> None:
    with device.open(files[1]) as there, open_runtime(files[1]) as here:
        for name, array in here.run({"x": scores}).items():
            np.testing.assert_array_equal(there.run({"x": scores})[name], array)


def test_an_address_alone_is_no_device() -> None:
    with pytest.raises(DataError, match=r"runtimes\.Device"):
        RaceOptions(device="pi.local:8714")  # type: ignore[arg-type]
