"""A model on a device does what it does here, and errors say whose they are."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import (
    DataError,
    Device,
    ModelError,
    RuntimeUnavailable,
    check,
    open_runtime,
    profile,
)
from runtimes.agent.addresses import Address
from runtimes.agent.server import AgentServer
from runtimes.costs import CostTable, open_costs
from runtimes.costs.machine import this_machine

Files = Mapping[str, Path]
X = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)


@pytest.mark.parametrize("name", ["linear", "external", "default", "fixed"])
def test_a_model_gives_there_what_it_gives_here(device: Device, files: Files, name: str) -> None:
    with open_runtime(files[name], device=device) as there, open_runtime(files[name]) as here:
        assert there.inputs == here.inputs
        assert there.outputs == here.outputs
        assert there.optional_inputs == here.optional_inputs
        assert (there.quantized, there.name) == (here.quantized, here.name)
        assert there.placement == here.placement
        np.testing.assert_array_equal(there.run({"x": X})["y"], here.run({"x": X})["y"])
        with pytest.raises(DataError, match="takes the inputs"):
            there.run({"z": X})
        with pytest.raises(ModelError, match="no output 'q'"):
            there.run({"x": X}, ["q"])
    with pytest.raises(RuntimeError, match="closed"):
        there.run({"x": X})


def test_a_graph_runs_there_too_and_another_engine(device: Device, files: Files) -> None:
    model = ir.load(files["two"])
    feed = {"x": np.ones((2, 3), np.float32), "n": np.ones((2, 2), np.int64)}
    with open_runtime(model, "reference", device=device, threads=None) as there:
        assert there.placement.asked == "reference"
        found = there.run(feed, ["m"])
    assert list(found) == ["m"]
    np.testing.assert_array_equal(found["m"], -feed["n"])


def test_what_fails_there_is_named_as_it_would_be_here(device: Device, files: Files) -> None:
    with open_runtime(files["failing"], device=device) as there:
        feed = {"a": np.ones((2, 2), np.float32), "b": np.ones((3, 2), np.float32)}
        with pytest.raises(ModelError, match=r"on 127.*failing.onnx failed .* node 'sum' \(Add\)"):
            there.run(feed)
        same = {"a": feed["a"], "b": feed["a"]}
        np.testing.assert_array_equal(there.run(same)["y"], feed["a"] * 2)  # and goes on
    with pytest.raises(ModelError, match="can be read"):
        open_runtime(files["damaged"], device=device)
    with pytest.raises(ModelError, match="no such file"):
        open_runtime("nowhere.onnx", device=device)


def test_what_an_agent_does_not_run(device: Device, files: Files, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"no provider 'cup'.*did you mean 'cpu'"):
        check(files["linear"], files["linear"], {"x": X}, device=device, providers=["cup"])
    with pytest.raises(DataError, match=r"'session.optimized_model_filepath' cannot be set"):
        open_runtime(
            files["linear"], device=device, config={"session.optimized_model_filepath": "/tmp/x"}
        )
    keras = tmp_path / "model.keras"
    keras.write_bytes(b"PK\3\4" + b"0" * 30)
    for act in (lambda: open_runtime(keras, device=device), lambda: profile(keras, device=device)):
        with pytest.raises(ModelError, match="a device runs ONNX files and graphs only"):
            act()
    with pytest.raises(DataError, match=r"'pi:1' is a text; give a runtimes.Device"):
        profile(files["linear"], device="pi:1")


def test_check_judges_there(device: Device, files: Files) -> None:
    data = {"x": np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)}
    here = check(files["linear"], files["external"], data)
    there = check(files["linear"], files["external"], data, device=device)
    assert there.passed
    assert there.to_dict() == here.to_dict()


def test_profile_is_timed_there(device: Device, files: Files) -> None:
    report = profile(
        files["linear"],
        against=ir.load(files["external"]),
        data={"x": X},
        batch=(1, 4),
        device=device,
        operators=True,
        min_time=0.01,
        max_time=0.2,
    )
    assert [one.batch for one in report.batches] == [1, 4]
    assert report.batches[0].ratio is not None
    assert report.model == str(files["linear"])
    assert report.size_bytes == files["linear"].stat().st_size
    assert report.operators is not None
    assert report.load_ms > 0
    assert f"measured on the device {device}" in report.notes
    json.dumps(report.to_dict())
    with pytest.raises(DataError, match="no_such"):
        profile(files["linear"], data={"no_such": X, "other": X}, device=device)


def test_costs_are_those_of_the_device(
    device: Device, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    feed = {"x": X}
    costs = open_costs(bench=device.workbench())
    found = costs.predict(files["linear"], feed)
    assert costs.table.machine == this_machine(1)
    assert [ran.kernel.op_type for ran, _ in found.kernels] == ["MatMul", "Relu"] or found.kernels
    assert found.microseconds > 0
    again = open_costs(bench=device.workbench()).predict(files["linear"], feed)
    assert again.microseconds == found.microseconds  # the device kept what it measured
    local = open_costs().predict(files["linear"], feed)  # this one has the same cache
    assert local.microseconds == found.microseconds
    assert [ran.origins for ran, _ in local.kernels] == [ran.origins for ran, _ in found.kernels]


def test_a_table_that_is_given_decides_alike_here_and_there(device: Device, files: Files) -> None:
    feed = {"x": X}
    table = CostTable(this_machine(1), {"matmul": 1.0, "add": 1.0}, 3.0)
    local = open_costs(table)
    expected = local.predict(files["linear"], feed)
    remote = open_costs(CostTable.from_json(table.to_json()), bench=device.workbench(keep=False))
    assert remote.predict(files["linear"], feed).microseconds == expected.microseconds
    assert remote.digest == local.digest


def test_wrong_token_version_and_nobody_there(
    agent: AgentServer, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeUnavailable, match="does not accept the token") as error:
        open_runtime(files["linear"], device=Device(agent.address, "another token entirely"))
    assert error.value.exit_code == 3
    monkeypatch.delenv("KILNX_DEVICE_TOKEN", raising=False)
    with pytest.raises(RuntimeUnavailable, match="give it with --device-token or KILNX_DEV"):
        Device(agent.address).info()
    monkeypatch.setenv("KILNX_DEVICE_TOKEN", agent.token)
    assert Device(agent.address).info().cores == os.cpu_count()
    monkeypatch.setattr("runtimes.agent.link.VERSION", 99)
    with pytest.raises(RuntimeUnavailable, match=r"protocol 1; this is kilnx .* protocol 99"):
        Device(agent.address).info()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Device(f"127.0.0.1:{taken.getsockname()[1]}", agent.token, patience=0.2)
        with pytest.raises(RuntimeUnavailable, match=r"is not reached without TLS.*refused"):
            nobody.info()


def test_clients_at_the_same_time(device: Device, files: Files) -> None:
    found: list[Any] = []

    def work(scale: float) -> None:
        with open_runtime(files["linear"], device=device) as there:
            for _ in range(5):
                found.append((scale, there.run({"x": X * scale})["y"]))

    threads = [threading.Thread(target=work, args=(scale,)) for scale in (1.0, 2.0, 3.0)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert len(found) == 15
    with open_runtime(files["linear"]) as here:
        for scale, y in found:
            np.testing.assert_array_equal(y, here.run({"x": np.float32(X * scale)})["y"])


@pytest.mark.parametrize(
    ("text", "ca", "expected"),
    [
        ("pi.local", None, ("pi.local", 8714, True)),
        ("pi.local:80", None, ("pi.local", 80, True)),
        ("http://pi.local:80", None, ("pi.local", 80, False)),
        ("https://127.0.0.1:80", None, ("127.0.0.1", 80, True)),
        ("127.0.0.1:80", None, ("127.0.0.1", 80, False)),
        ("localhost:80", "ca.pem", ("localhost", 80, True)),
        ("[::1]:80", None, ("::1", 80, False)),
        ("[fe80::1]", None, ("fe80::1", 8714, True)),
    ],
)
def test_addresses(text: str, ca: str | None, expected: Any) -> None:
    found = Address.of(text, ca=ca)
    assert (found.host, found.port, found.tls) == expected


@pytest.mark.parametrize(
    "text", ["", ":80", "pi:", "pi:0", "pi:99999", "pi:x", "ftp://pi:80", "::1", "a b:80", "u@h:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(DataError, match="the device"):
        Address.of(text)


def test_the_token_is_not_shown(agent: AgentServer, device: Device) -> None:
    assert agent.token not in repr(device)
    assert str(device) == agent.address
