"""The models behind the servers, and what they cost without a server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser

from runtimes import open_runtime

ROOT = Path(__file__).resolve().parents[1]
IDENTITY = """
<ir_version: 9, opset_import: ["" : 18]>
identity (float[batch, width] image) => (float[batch, width] copy) { copy = Identity(image) }
"""


def demo_model(cache: Path) -> Path:
    """What ``kilnx demo`` writes; made once (about two minutes)."""
    folder = cache / "demo"
    if not (folder / "model.onnx").exists():
        print("training and compressing the demo's model", file=sys.stderr)
        command = [sys.executable, "-m", "converter", "demo", "-o", str(folder), "--quiet"]
        subprocess.run([*command, "--force"], check=True, cwd=ROOT)
    return folder / "model.onnx"


def identity_model(folder: Path) -> Path:
    """Copies its input, rows of any length: what is left of a server's cost is its own."""
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(IDENTITY), path)
    return path


def first_shape(model: Path) -> tuple[int, ...]:
    """The shape of its one input for a single sample."""
    with open_runtime(model) as runtime:
        (one,) = runtime.inputs
        if one.shape is None or one.dtype != np.float32 or one.name != "image":
            raise SystemExit(f"{model}: needs one float32 input of the name image, not {one}")
        return tuple(size if isinstance(size, int) else 1 for size in one.shape)


def model_us(model: Path, array: np.ndarray[Any, Any], seconds: float = 1.0) -> float:
    """CPU microseconds of a call in this process, one thread, the median of twenty stretches."""
    with open_runtime(model, threads=1) as runtime:
        call = runtime.prepare({"image": array})
        _cpu(call, 20)
        calls = max(1, round(seconds / 20 / max(_cpu(call, 20), 1e-7)))
        return 1e6 * float(np.median([_cpu(call, calls) for _ in range(20)]))


def _cpu(call: Callable[[], object], times: int) -> float:
    before = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - before) / times
