"""How the server starts and stops: as a process, by signals, with requests on their way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("uvicorn")

from served import SQUARE, TWICE, Client, write_model

from runtimes.child_process import python_path

pytestmark = pytest.mark.fast
X = np.full((1, 4), 3, np.float32)


@contextmanager
def process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """``kilnx serve`` as a user starts it."""
    command = [sys.executable, "-m", "converter", "serve", *map(str, arguments)]
    started = subprocess.Popen(
        [*command, "--port", "0", "--json", "--log-format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    assert started.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = started.stdout.readline()
        assert line, started.communicate()[1]
        text += line
    client = Client(json.loads(text)["url"])
    try:
        yield started, client
    finally:
        client.close()
        started.kill()
        started.communicate()


def events(told: str) -> list[str]:
    return [json.loads(line)["event"] for line in told.splitlines()]


def test_a_server_that_is_told_to_stop(tmp_path: Path) -> None:
    with process(write_model(tmp_path / "net.onnx")) as (server, client):
        assert client.infer(X).status == 200
        server.send_signal(signal.SIGTERM)
        _, told = server.communicate(timeout=60)
        assert server.returncode == 0
        assert events(told) == ["model loaded", "stopping", "version retired"]


def test_no_request_that_was_accepted_is_lost(tmp_path: Path) -> None:
    statuses: list[int] = []

    def ask(url: str) -> None:
        client = Client(url)
        try:
            while True:
                answer = client.infer(X)
                statuses.append(answer.status)
                if answer.headers.get("connection") == "close":
                    return
        finally:
            client.close()

    with process(write_model(tmp_path / "net.onnx")) as (server, client):
        client.close()
        url = f"http://{client.host}:{client.port}"
        askers = [threading.Thread(target=ask, args=(url,)) for _ in range(4)]
        for one in askers:
            one.start()
        while len(statuses) < 50:
            pass
        server.send_signal(signal.SIGTERM)
        for one in askers:
            one.join(60)
        assert not any(one.is_alive() for one in askers)
        server.communicate(timeout=60)
        assert server.returncode == 0
    assert set(statuses) == {200}


def test_a_hangup_loads_what_changed(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", TWICE)
    with process(path) as (server, client):
        assert client.outputs(client.infer(X))[0, 0] == 6
        write_model(path, SQUARE)
        server.send_signal(signal.SIGHUP)
        while client.outputs(client.infer(X))[0, 0] != 9:  # the runner's own limit ends it
            pass
