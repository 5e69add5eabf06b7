"""``kilnx agent``, and ``--device`` of the commands that measure and judge."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from network_namespaces import namespaces  # noqa: F401

from runtimes import Device, open_runtime
from runtimes.agent.server import AgentOptions, AgentServer, running
from runtimes.costs import CostTable
from runtimes.costs.machine import this_machine

Kilnx = Callable[..., tuple[int, str, str]]
TOKEN = "a token that only tests know"
SIZES = (16, 8)
ENTER = ("ip", "netns", "exec")
THERE = ("--device", "http://10.213.7.1:8714")
NAMES = ("here", "there")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KILNX_DEVICE_TOKEN", TOKEN)
    with running(AgentOptions(port=0, token=TOKEN, cache=tmp_path / "parts")) as server:
        yield server


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "converter", *map(str, arguments)]


@contextmanager
def started(*before: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """An agent in a process of its own, and what it says of itself."""
    with subprocess.Popen(
        [*before, *command("agent", "--json")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stdout is not None
            lines = ""
            while not lines.rstrip().endswith("}"):
                lines += process.stdout.readline() or pytest.fail(f"it ended: {lines}")
            yield process, json.loads(lines)
        finally:
            process.kill()


def test_commands_measure_and_judge_there(
    kilnx: Kilnx, agent: AgentServer, model: Path, tmp_path: Path
) -> None:
    where = ("--device", agent.address)
    code, out, _ = kilnx("profile", model, *where, "--against", model, "--json")
    assert code == 0
    report = json.loads(out)
    assert f"measured on the device {agent.address}" in report["notes"]
    assert report["batches"][0]["ratio"] is not None
    code, out, _ = kilnx("check", model, model, "--data", tmp_path / "data.npz", *where)
    assert (code, out.split(":")[0]) == (0, "passed")
    table = tmp_path / "table.json"
    code, out, _ = kilnx("costs", "measure", model, "-o", table, *where)
    assert code == 0
    assert CostTable.read(table).machine == this_machine(1)
    gc.collect()
    assert not agent.jobs._jobs  # all were ended


def test_a_device_that_is_not_there_is_said_before_anything_is_done(
    kilnx: Kilnx, agent: AgentServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("--data", tmp_path / "data.npz")
    where = ("--device", agent.address)
    for rest in (
        ("quantize", model, "-o", tmp_path / "q.onnx", *data),
        ("prune", model, "-o", tmp_path / "p.onnx", *data),
        ("compress", model, "-o", tmp_path / "out", *data),
        ("check", model, model, *data),
        ("profile", model),
    ):
        code, _, error = kilnx(*rest, *where, "--device-token", "a wrong token, surely")
        assert code == 3
        assert "does not accept the token" in error
    code, _, error = kilnx("profile", model, "--device", "nobody:x")
    assert code == 2
    assert "is not host:port" in error
    monkeypatch.delenv("KILNX_DEVICE_TOKEN")
    code, _, error = kilnx("profile", model, *where)
    assert code == 3
    assert "--device-token or KILNX_DEVICE_TOKEN" in error
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data.npz", "model.onnx", "parts"]


def test_an_agent_shows_a_token_and_takes_its_jobs_with_it(
    kilnx: Kilnx, model: Path, tmp_path: Path
) -> None:
    with started(XDG_CACHE_HOME=str(tmp_path), KILNX_TOKEN="") as (process, told):
        assert len(told["token"]) >= 32
        there = open_runtime(model, device=Device(told["address"], told["token"], patience=0.2))
        (worker,) = _children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not _runs(worker)
        there.close()


def test_a_job_does_not_outlive_an_agent_that_was_killed(model: Path, tmp_path: Path) -> None:
    token = {"KILNX_TOKEN": TOKEN, "XDG_CACHE_HOME": str(tmp_path)}
    with started(**token) as (process, told):
        assert told["token"] is None  # the user knows it
        there = open_runtime(model, device=Device(told["address"], TOKEN, patience=0.2))
        (worker,) = _children(process.pid)
        process.kill()
        process.wait()
        there.close()
        end = time.monotonic() + 30
        while _runs(worker) and time.monotonic() < end:
            time.sleep(0.05)
        assert not _runs(worker)


def _children(pid: int) -> list[int]:
    found = []
    for one in Path("/proc").iterdir():
        if one.name.isdigit():
            try:
                fields = (one / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(one.name))
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_options_that_are_refused(kilnx: Kilnx) -> None:
    code, _, error = kilnx("agent", "--token", "short")
    assert code == 2
    assert "can be guessed" in error
    code, _, error = kilnx("agent", "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "--cert" in error
    code, _, error = kilnx("agents")
    assert code == 2
    assert "agent" in error


@contextmanager
def listening_in(network: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """An agent at 10.213.7.1, in its own network."""
    listening = subprocess.Popen(
        [*ENTER, network, *command("agent", "--host", "10.213.7.1", "--plain", "--json")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert listening.stdout is not None
        assert re.search(r"\{", listening.stdout.readline())
        yield listening
    finally:
        listening.kill()
        listening.communicate()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One cache for both sides, so that they know the same costs."""
    tokens = {"KILNX_TOKEN": TOKEN, "KILNX_DEVICE_TOKEN": TOKEN}
    return {**os.environ, **tokens, "XDG_CACHE_HOME": str(tmp_path)}


@pytest.mark.slow
def test_between_two_networks_with_a_cable_that_is_pulled(
    namespaces: tuple[str, str],  # noqa: F811
    model: Path,
    environment: dict[str, str],
) -> None:
    theirs, ours = namespaces
    with listening_in(theirs, environment) as listening:
        profile = command("profile", model, *THERE, "--json")
        with subprocess.Popen(
            [*ENTER, ours, *profile],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as asking:
            while not _children(listening.pid):  # until its job has begun
                assert asking.poll() is None
                time.sleep(0.02)
            for state in ("down", "up"):
                subprocess.run(["ip", "-n", theirs, "link", "set", "k0", state], check=True)
                time.sleep(0.3)
            out, _ = asking.communicate(timeout=120)
        assert asking.returncode == 0
        assert "measured on the device 10.213.7.1:8714" in json.loads(out)["notes"]


@pytest.mark.slow
def test_compress_decides_in_another_network_as_it_does_here(
    namespaces: tuple[str, str],  # noqa: F811
    model: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    theirs, ours = namespaces
    options = ["--data", tmp_path / "data.npz", "--effort", "low", "--prefer", "size"]
    options += ["--min-sqnr", "5", "--min-agreement", "0", "--stress", "none"]
    options += [part for step in ("dedupe", "prune", "weights") for part in ("--skip", step)]
    with listening_in(theirs, environment):
        for name, where in (("here", ()), ("there", THERE)):
            asked = command("compress", model, "-o", tmp_path / name, *options, *where)
            done = subprocess.run(
                [*ENTER, ours, *asked], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    here, there = (json.loads((tmp_path / n / "report.json").read_text()) for n in NAMES)
    assert any("device 10.213.7.1:8714" in note for note in there["notes"])
    assert not any("device" in note for note in here["notes"])
    assert there["costs"]["digest"] == here["costs"]["digest"]
    assert [(s["name"], s["kept"]) for s in there["steps"]] == [
        (s["name"], s["kept"]) for s in here["steps"]
    ]
    files = [(tmp_path / name / "model.onnx").read_bytes() for name in NAMES]
    assert files[0] == files[1]
