"""README's worked example, command by command as written there: from training to drift found."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from runtimes import open_runtime

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def commands() -> list[list[str]]:
    """The five of README's block, without what a shell would do."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```sh\n(kilnx compress .*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return [shlex.split(line.removesuffix("&")) for line in block[1].splitlines()]


@pytest.mark.fast
def test_the_five_commands_are_those_of_the_story() -> None:
    assert [line[:2] for line in commands()] == [
        ["kilnx", "compress"],
        ["kilnx", "package"],
        ["kilnx", "serve"],
        ["curl", "localhost:8000/v2/models/digits/infer"],
        ["kilnx", "drift"],
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_keras_model_becomes_a_monitored_endpoint(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    compress, package, serve, curl, drift = commands()
    run([sys.executable, str(ROOT / "examples/digits.py")], tmp_path)
    run(kilnx(compress), tmp_path)
    run(kilnx(package), tmp_path)
    with serving(kilnx(serve), tmp_path) as port:
        asked = run([part.replace(":8000", f":{port}") for part in curl], tmp_path)
        seen = looked_at(port)
    images = np.load(tmp_path / "test.npz")["image"]
    with open_runtime(tmp_path / "out/model.onnx") as runtime:
        expected = runtime.run({"image": images[:1]})["digit"]
    answer = json.loads(asked)["outputs"][0]
    assert answer["shape"] == [1, 10]
    np.testing.assert_allclose(answer["data"], expected.ravel(), rtol=1e-4, atol=1e-4)
    assert seen == 1
    run(kilnx(drift), tmp_path, expected=1)
    run(kilnx([*drift[:-1], "test.npz"]), tmp_path)


def kilnx(line: list[str]) -> list[str]:
    """The same command, whether or not the script is on the path."""
    return [sys.executable, "-m", "converter", *line[1:]]


def run(command: list[str], folder: Path, *, expected: int = 0) -> str:
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[int]:
    """The server at a port of its own, until the block ends; it ends in good order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*command, "--port", str(port)], cwd=folder, env=ENVIRONMENT)
    try:
        wait_until_ready(server, port)
        yield port
    finally:
        server.terminate()
        code = server.wait(60)
    assert code == 0


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        assert server.poll() is None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready") as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server never became ready")


def looked_at(port: int) -> int:
    """How many requests the monitor has seen, once it has seen one."""
    seen = 0
    for _ in range(100):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/monitor") as answer:
            status = json.load(answer)["models"]["digits"]["1"]
        seen = status["inputs"]["observations"]
        if seen:
            break
        time.sleep(0.1)
    return int(seen)
