"""A command that is stopped leaves nothing, and what was killed is cleaned up by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

SLOW = """
import sys, time
import converter.compression.compress as pipeline
profile = sys.modules["runtimes.profiling.profile"]
profile._LAUNCHES = profile._MAX_LAUNCHES = 2
def wait(*_):
    print("ready", flush=True)
    time.sleep(600)
pipeline.STEPS = dict.fromkeys(pipeline.STEPS, wait)
from converter.__main__ import main
main()
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    text = '<ir_version: 8, opset_import: ["" : 17]> m (float[N, 3] x) => (float[N, 3] y)'
    onnx.save(onnx.parser.parse_model(f"{text} {{ y = Softmax(x) }}"), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.eye(3, dtype=np.float32).repeat(4, axis=0))
    return tmp_path


def heed_signals() -> None:
    """As in a terminal: tests that run in the background may have been told to ignore some."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(files: Path) -> subprocess.Popen[str]:
    """``compress``, halted at its first step."""
    arguments = ["compress", "m.onnx", "-o", "out", "--data", "d.npz", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        cwd=files,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,  # noqa: PLW1509  # no threads here
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.sweep(3)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(files: Path, number: signal.Signals) -> None:
    before = sorted(files.iterdir())
    process = start(files)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number
    assert err.startswith("kilnx: error: interrupted")
    assert err.count("\n") == 1
    assert sorted(files.iterdir()) == before


def test_the_next_command_cleans_up_after_one_that_was_killed(files: Path) -> None:
    before = sorted(files.iterdir())
    process = start(files)
    process.kill()
    process.communicate()
    assert len(list(files.iterdir())) > len(before)
    process = start(files)
    process.terminate()
    process.communicate()
    assert sorted(files.iterdir()) == before
