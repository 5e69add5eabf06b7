"""A signal is handled after models ran in OpenVINO and were closed in any order."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

pytest.importorskip("openvino")

SCRIPT = """
import gc, signal, sys
from runtimes import open_runtime
first, second = (open_runtime(sys.argv[1], "openvino", threads=1) for _ in range(2))
first.close()
gc.collect()
second.close()
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_after_models_were_closed(graph: Callable[..., ir.Model], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(graph("g (float[N, 3] x) => (float[N, 3] y) { y = Add (x, x) }"), path)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "handled")
