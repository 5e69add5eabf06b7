"""Whoever asks the agent for what it does not give gets a short answer, and nobody else waits."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes import DataError, Device, ModelError, RuntimeUnavailable, open_runtime
from runtimes.agent.addresses import Address
from runtimes.agent.link import Link
from runtimes.agent.messages import ModelFiles, OpenCall, Part
from runtimes.agent.parts import ModelParts
from runtimes.agent.protocol import encode
from runtimes.agent.remote_job import RemoteJob
from runtimes.agent.server import AgentServer
from runtimes.network.rate_limiter import RateLimiter

Start = Callable[..., AgentServer]
JOB = "0123456789abcdef" * 2
X = np.ones((1, 2), np.float32)


@contextmanager
def connected(agent: AgentServer) -> Iterator[socket.socket]:
    host, port = agent.server_address[:2]
    with socket.create_connection((str(host), int(port)), timeout=20) as client:
        yield client


def spoken(agent: AgentServer, text: bytes, more: bytes = b"") -> bytes:
    """All that the agent answers to ``text`` until it closes the connection."""
    with connected(agent) as client:
        client.sendall(text)
        if more:
            client.sendall(more)
        client.shutdown(socket.SHUT_WR)
        return rest_of(client)


def rest_of(client: socket.socket) -> bytes:
    found = b""
    try:
        while piece := client.recv(65536):
            found += piece
    except ConnectionResetError:  # it did not read what was sent, and need not
        pass
    return found


def drip(client: socket.socket) -> None:
    while True:
        client.sendall(b"x")
        threading.Event().wait(0.02)


def head(agent: AgentServer, line: str, *lines: str, token: str | None = None) -> bytes:
    token = agent.token if token is None else token
    known = (f"Authorization: Bearer {token}", "X-Kilnx-Protocol: 1")
    return "\r\n".join([f"{line} HTTP/1.1", *known, *lines, "", ""]).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("line", ["GET /v1/info", "PUT /v1/jobs/" + JOB, "GET /", "BREW /pot"])
@pytest.mark.parametrize("token", ["", "wrong", "ü" * 20])
def test_whoever_does_not_know_the_token_gets_nothing(
    agent: AgentServer, line: str, token: str
) -> None:
    agent.failures._left.clear()
    answer = spoken(agent, head(agent, line, token=token))
    assert status(answer) == 401
    assert answer.endswith(b"\r\n\r\n{}")
    assert b"Connection: close" in answer
    assert agent.jobs.find(JOB) is None


def test_the_body_of_a_stranger_is_not_read(agent: AgentServer) -> None:
    agent.failures._left.clear()
    with connected(agent) as client:
        line = f"PUT /v1/parts/{'a' * 64}"
        client.sendall(head(agent, line, "Content-Length: 1000000", token="wrong"))
        assert b" 401 " in rest_of(client)  # with nothing sent of it


def test_a_stranger_who_goes_on_guessing_is_told_to_wait(start: Start) -> None:
    agent = start()
    agent.failures = RateLimiter(1e-9, 5)
    found = [status(spoken(agent, head(agent, "GET /v1/info", token="x"))) for _ in range(8)]
    assert found == [401] * 5 + [429] * 3
    assert status(spoken(agent, head(agent, "GET /v1/info"))) == 200  # who knows it is let in


@pytest.mark.parametrize(
    ("line", "lines", "expected"),
    [
        ("GET /", (), 404),
        ("GET /v1/jobs", (), 404),
        ("GET /v1/../etc/passwd", (), 404),
        ("DELETE /v1/info", (), 404),
        ("PUT /v1/jobs/../../x", (), 404),
        ("PUT /v1/jobs/" + "g" * 32, (), 404),
        ("PUT /v1/parts/..%2f..%2fx", ("Content-Length: 0",), 404),
        (f"POST /v1/jobs/{JOB}/-1", ("Content-Length: 0",), 404),
        (f"POST /v1/jobs/{JOB}/1e3", ("Content-Length: 0",), 404),
        (f"GET /v1/jobs/{JOB}/1", (), 410),
        (f"PUT /v1/parts/{'a' * 64}", ("Content-Length: 99999999999",), 413),
        (f"PUT /v1/parts/{'a' * 64}", ("Content-Length: -1",), 400),
        (f"PUT /v1/parts/{'a' * 64}", ("Content-Length: 0x10",), 400),
        (f"PUT /v1/parts/{'a' * 64}", ("Content-Length: " + "9" * 5000,), 400),
        (f"PUT /v1/parts/{'a' * 64}", ("Content-Length: 1", "Content-Length: 2"), 411),
        (f"PUT /v1/parts/{'a' * 64}", ("Transfer-Encoding: chunked",), 411),
        (f"PUT /v1/parts/{'a' * 64}", ("Expect: 100-continue", "Content-Length: 1"), 417),
        (f"PUT /v1/parts/{'a' * 64}", ("Content-Length: 0",), 422),
        ("POST /v1/missing", ("Content-Length: 0",), 400),
        ("GET /v1/info", ("X: " + "y" * 70_000,), 431),
        ("GET /v1/info", tuple(f"X-{n}: y" for n in range(150)), 431),
        ("GET /" + "x" * 70_000, (), 414),
    ],
)  # fmt: skip
def test_requests_that_are_none(
    agent: AgentServer, line: str, lines: tuple[str, ...], expected: int
) -> None:
    assert status(spoken(agent, head(agent, line, *lines))) == expected


def test_another_protocol_is_told_which_one_is_spoken(agent: AgentServer) -> None:
    text = f"GET /v1/info HTTP/1.1\r\nAuthorization: bearer {agent.token}\r\n\r\n"
    answer = spoken(agent, text.encode())
    assert status(answer) == 426
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["protocol"] == 1


@settings(max_examples=40, deadline=None)
@given(junk=st.binary(min_size=1, max_size=300), known=st.booleans())
def test_no_bytes_do_more_than_be_refused(agent: AgentServer, junk: bytes, known: bool) -> None:
    agent.failures._left.clear()
    text = head(agent, "POST /v1/missing", f"Content-Length: {len(junk)}") if known else b""
    answer = spoken(agent, text + junk)
    assert not answer or status(answer) in (400, 401, 408, 414, 431, 501, 505)
    assert status(spoken(agent, head(agent, "GET /v1/info"))) == 200


def test_frames_that_are_none(agent: AgentServer) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    up = {"main": "../m", "files": {"../m": [{"digest": digest, "size": 0}]}}
    huge = {"main": "m", "files": {"m": [{"digest": digest, "size": 2**50}]}}
    assert status(spoken(agent, head(agent, f"PUT /v1/jobs/{JOB}"))) == 200
    for frame, expected, reason in (
        (b"nothing", 400, b"no frame"),
        (encode(None), 400, b"is not an object"),
        (encode({"operation": "open", "models": [up]}), 400, b"inside a model's folder"),
        (encode({"operation": "open", "models": [huge]}), 422, b"is larger than"),
        (encode({"operation": "open", "code": "x"}), 400, b"unknown field"),
    ):
        line = head(agent, f"POST /v1/jobs/{JOB}/1", f"Content-Length: {len(frame)}")
        answer = spoken(agent, line, frame)
        assert status(answer) == expected
        assert reason in answer
    for frame, reason in (
        (encode({"operation": "__init__"}), b"there is no operation"),
        (encode({"operation": "run", "options": {"outputs": []}}), b"no model is open"),
        (encode({"operation": "open"}), b"takes 1 models"),
    ):
        number = agent.jobs.find(JOB)._number + 1  # type: ignore[union-attr]
        line = head(agent, f"POST /v1/jobs/{JOB}/{number}", f"Content-Length: {len(frame)}")
        answer = spoken(agent, line, frame)
        while status(answer) == 202:  # its process has yet to start
            answer = spoken(agent, head(agent, f"GET /v1/jobs/{JOB}/{number}"))
        assert status(answer) == 200
        assert reason in answer
    for number in (0, 1, 99):  # neither the last one nor the next
        line = head(agent, f"POST /v1/jobs/{JOB}/{number}", "Content-Length: 0")
        assert status(spoken(agent, line)) == 410
    assert status(spoken(agent, head(agent, f"DELETE /v1/jobs/{JOB}"))) == 200
    assert agent.jobs.find(JOB) is None


def test_a_keras_file_is_not_run(agent: AgentServer, tmp_path: Path) -> None:

    content = b"PK\3\4" + b"0" * 40
    digest = hashlib.sha256(content).hexdigest()
    files = ModelFiles("m.onnx", {"m.onnx": (Part(digest, len(content)),)})
    link = Link(Address.of(agent.address), agent.token)
    job = RemoteJob(link)
    with pytest.raises(ModelError, match="an agent runs ONNX models only"):
        job.ask("open", OpenCall(), None, [ModelParts(files, {digest: memoryview(content)})])
    job.end()
    link.close()


@pytest.mark.parametrize("text", [b"", b"GET /v1/in", b"GET /v1/info HTTP/1.1\r\nA: b\r\n"])
def test_whoever_sends_nothing_more_is_cut_off(start: Start, text: bytes) -> None:
    agent = start(limits={"head_seconds": 0.2})
    with connected(agent) as client:
        client.sendall(text)
        assert rest_of(client) == b""


def test_whoever_sends_a_byte_now_and_then_is_cut_off(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.agent.http_handler._GRACE_SECONDS", 0.2)
    agent = start(limits={"head_seconds": 0.2})
    line = head(agent, f"PUT /v1/parts/{'a' * 64}", "Content-Length: 1000")
    for begin in (b"GET /v1/info HTTP/1.1\r\n", line):
        with connected(agent) as client:
            client.sendall(begin)
            with pytest.raises(OSError, match=r"[Rr]eset|[Bb]roken"):
                drip(client)
    assert list((agent.routes._store._folder).iterdir()) == []  # type: ignore[attr-defined]


def test_connections_and_jobs_have_an_end(start: Start, files: Mapping[str, Path]) -> None:
    agent = start(limits={"connections_each": 2, "jobs": 1})
    with connected(agent) as one, connected(agent) as two:
        for client in (one, two):  # both are served before a third one comes
            client.sendall(head(agent, "GET /v1/info"))
            assert b" 200 " in client.recv(100)
        assert spoken(agent, b"") == b""
    first = Device(agent.address, agent.token, patience=10)
    with (
        open_runtime(files["linear"], device=first),
        pytest.raises(RuntimeUnavailable, match="runs 1 jobs already"),
    ):
        open_runtime(files["linear"], device=replace(first, patience=0.3))


def test_whoever_hurries_waits(start: Start, files: Mapping[str, Path]) -> None:
    agent = start(limits={"requests_per_second": 4.0})
    with open_runtime(files["linear"], device=Device(agent.address, agent.token)) as there:
        for _ in range(12):
            there.run({"x": X})
    agent.rate = RateLimiter(1e-9, 1)
    hurried = [status(spoken(agent, head(agent, "GET /v1/info"))) for _ in range(2)]
    assert hurried == [200, 429]


def test_a_job_that_nobody_asks_is_ended(start: Start, files: Mapping[str, Path]) -> None:
    agent = start(limits={"idle_seconds": 0.05})
    with open_runtime(files["linear"], device=Device(agent.address, agent.token)) as there:
        (job,) = agent.jobs._jobs.values()
        while agent.jobs._jobs:
            threading.Event().wait(0.02)
            agent.jobs.end_idle()
        with pytest.raises(ProcessLookupError):
            os.kill(job.pid, 0)
        assert there.run({"x": X})["y"].shape == (1, 3)  # in a new one


def test_a_process_that_dies_is_an_error_of_its_model(
    start: Start, files: Mapping[str, Path]
) -> None:
    agent = start()
    with open_runtime(files["linear"], device=Device(agent.address, agent.token)) as there:
        (job,) = agent.jobs._jobs.values()
        os.kill(job.pid, signal.SIGKILL)
        with pytest.raises(ModelError, match="ended by SIGKILL; the model breaks the engine"):
            there.run({"x": X})
        assert there.run({"x": X})["y"].shape == (1, 3)
        (job,) = agent.jobs._jobs.values()
        job._process._limits = replace(agent.limits, seconds=0.2)
        os.kill(job.pid, signal.SIGSTOP)
        with pytest.raises(ModelError, match=r"took more than 0\.2 s, the most"):
            there.run({"x": X})


def test_memory_has_an_end(start: Start, graph: Callable[[str], ir.Model]) -> None:
    agent = start(limits={"memory_bytes": 8 * 2**30})
    model = graph("g (int64[n] x) => (float[m] y) { y = ConstantOfShape(x) }")
    with (
        open_runtime(model, device=Device(agent.address, agent.token)) as there,
        pytest.raises(ModelError, match="memory"),
    ):
        there.run({"x": np.array([2**32])})
    with open_runtime(model, device=Device(agent.address, agent.token)) as there:
        assert there.run({"x": np.array([2])})["y"].shape == (2,)


def test_answers_have_an_end(start: Start, graph: Callable[[str], ir.Model]) -> None:
    agent = start(limits={"body_bytes": 2**20})
    model = graph("g (int64[n] x) => (float[m] y) { y = ConstantOfShape(x) }")
    with open_runtime(model, device=Device(agent.address, agent.token)) as there:
        with pytest.raises(DataError, match=r"the answer has 1200.* smaller batches"):
            there.run({"x": np.array([300_000])})
        assert there.run({"x": np.array([2])})["y"].shape == (2,)


def test_the_limits_of_a_process() -> None:
    code = (
        "from runtimes.agent.worker import limit_process\n"
        "limit_process({'memory_bytes': 2**31, 'cpu_seconds': 1, 'file_bytes': 100})\n"
        "try:\n    bytearray(2**32)\nexcept MemoryError:\n    print('memory', flush=True)\n"
        "while True: pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "memory\n"
    assert done.returncode == -signal.SIGXCPU


def test_the_environment_of_a_job_holds_no_secrets(
    start: Start, files: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILNX_TOKEN", "the token of the agent itself")
    monkeypatch.setenv("SOMETHING_SECRET", "x")
    agent = start()
    with open_runtime(files["linear"], device=Device(agent.address, agent.token)):
        (job,) = agent.jobs._jobs.values()
        seen: Any = Path(f"/proc/{job.pid}/environ").read_bytes().split(b"\0")
        mapped = Path(f"/proc/{job.pid}/maps").read_text()
    assert "onnxruntime" in mapped
    assert not [one for one in ("tensorflow", "openvino", "pyarrow") if one in mapped]
    names = {one.partition(b"=")[0] for one in seen}
    assert not names & {b"KILNX_TOKEN", b"SOMETHING_SECRET"}
    assert b"TMPDIR" in names
