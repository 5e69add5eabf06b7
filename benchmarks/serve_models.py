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

from converter.demo import load_digits
from converter.packaging.package import package
from runtimes import open_runtime

SAMPLES = 64
ROOT = Path(__file__).resolve().parents[1]
IDENTITY = """
<ir_version: 9, opset_import: ["" : 18]>
identity (float[batch, width] image) => (float[batch, width] copy) { copy = Identity(image) }
"""


def demo_model(cache: Path) -> Path:
    """What ``kilnx demo`` writes, and a bundle of it; made once (about two minutes)."""
    folder = cache / "demo"
    if not (folder / "model.onnx").exists():
        print("training and compressing the demo's model", file=sys.stderr)
        command = [sys.executable, "-m", "converter", "demo", "-o", str(folder), "--force"]
        subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)
    bundle = bundle_of(folder / "model.onnx")
    if not bundle.exists():
        package(folder, bundle, load_digits(0)[1])
    return folder / "model.onnx"


def bundle_of(model: Path) -> Path:
    """Where its bundle is, if there is one."""
    return model.parent.with_suffix(".kilnx")


def samples_for(model: Path) -> np.ndarray[Any, Any]:
    """Test images of the demo where they fit, else random numbers."""
    shape = first_shape(model)
    images = load_digits(0)[1]["image"][:SAMPLES]
    if images.shape[1:] == shape[1:]:
        return np.ascontiguousarray(images)
    return np.random.default_rng(0).random((SAMPLES, *shape[1:]), np.float32)


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
