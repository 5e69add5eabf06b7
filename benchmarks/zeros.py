"""Do zeros in weights make ONNX Runtime faster, or its sessions smaller?

    python benchmarks/zeros.py model.onnx [--seconds 3]

Uses only onnx, NumPy and ONNX Runtime, nothing of kilnx. In every Conv, MatMul and Gemm weight, the
smallest magnitudes are set to zero: 2 of 4 along the input channels (2:4), or 90% anywhere. The
latter is also stored as ONNX sparse initializers. All models run interleaved at batch 1 on one
thread. Prints the ratio of medians to the dense model, the size of the file, and that of the
optimized graph.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    whole = onnx.load(options.model)
    some = with_weights(whole, mostly_zero)
    models = {
        "whole": whole,
        "the same again": whole,
        "2:4": with_weights(whole, two_of_four),
        "90% zeros": some,
        "90% zeros, sparse initializers": as_sparse(some),
    }
    sessions = {name: open_session(model) for name, model in models.items()}
    times = race(sessions, options.seconds)
    print("| weights | file | optimized graph | speed-up |")
    print("|---|---|---|---|")
    for name, model in models.items():
        file, held = len(model.SerializeToString()) / 1e6, optimized_bytes(model) / 1e6
        ratio = np.median(times["whole"]) / np.median(times[name])
        print(f"| {name} | {file:.2f} MB | {held:.2f} MB | {ratio:.2f}× |")
    return 0


def with_weights(model: onnx.ModelProto, change: Callable[[Array], Array]) -> onnx.ModelProto:
    """A copy with its Conv, MatMul and Gemm weights changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = [node for node in copy.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    names = {node.input[1] for node in nodes}
    for tensor in copy.graph.initializer:
        if tensor.name in names and len(tensor.dims) > 1:
            changed = change(numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    return copy


def mostly_zero(weight: Array) -> Array:
    """The weight with all but the largest 10% of magnitudes set to zero."""
    weight[np.abs(weight) < np.quantile(np.abs(weight), 0.9)] = 0
    return weight


def two_of_four(weight: Array) -> Array:
    """The weight with the two smallest of every four magnitudes on the second axis set to zero."""
    if weight.shape[1] % 4:
        return weight
    moved = np.moveaxis(weight, 1, -1)
    four = moved.reshape(-1, 4)
    np.put_along_axis(four, np.argsort(np.abs(four), axis=1)[:, :2], 0, axis=1)
    return np.ascontiguousarray(np.moveaxis(four.reshape(moved.shape), -1, 1))


def as_sparse(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that stores weights that are mostly zero as ONNX sparse initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in list(copy.graph.initializer):
        array = numpy_helper.to_array(tensor)
        places = np.flatnonzero(array)
        if array.dtype != np.float32 or array.ndim < 2 or 2 * len(places) > array.size:
            continue
        values = numpy_helper.from_array(array.reshape(-1)[places], tensor.name)
        indices = numpy_helper.from_array(places.astype(np.int64), f"{tensor.name}_places")
        sparse = onnx.helper.make_sparse_tensor(values, indices, array.shape)
        copy.graph.sparse_initializer.append(sparse)
        copy.graph.initializer.remove(tensor)
    return copy


def open_session(
    model: onnx.ModelProto, optimized: Path | None = None
) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    if optimized is not None:
        settings.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def optimized_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the graph that ONNX Runtime runs, weights included."""
    path = Path("optimized-by-onnxruntime.onnx")
    try:
        open_session(model, path)
        return path.stat().st_size
    finally:
        path.unlink(missing_ok=True)


def race(
    sessions: dict[str, onnxruntime.InferenceSession], seconds: float
) -> dict[str, list[float]]:
    """Times of single runs in seconds, with all sessions interleaved."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    feed = {
        one.name: np.random.default_rng(0)
        .normal(size=[dim if isinstance(dim, int) else 1 for dim in one.shape])
        .astype(np.float32)
        for one in next(iter(sessions.values())).get_inputs()
    }
    end = time.perf_counter() + seconds * len(sessions)
    while time.perf_counter() < end:
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, feed)
            times[name].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    sys.exit(main())
