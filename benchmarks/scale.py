"""Does calibration scale over workers, and does it give the same bytes whatever happens to them?

    python benchmarks/scale.py [--samples 4000] [--workers 1,2,4] [--cluster] [--kill]

A convolutional network is calibrated on random images by one process, by so many processes of this
machine, and with ``--cluster`` by a Dask cluster of as many. Every file of statistics must have the
bytes of the first; with ``--kill`` a worker dies on the way. Seconds are wall time, and how many
times faster than the first row that is. ``client`` is the peak memory of the process that merges.
``model`` is what ``benchmarks/scale_model.py`` predicts from the first row and a run of one block.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scale_model import Job, makespan

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CHANNELS = (32, 64, 96, 128)
SIDE = 64


def write_model(path: Path) -> None:
    """Write four convolutions of growing width and a classifier."""
    import onnx_ir as ir

    rng = np.random.default_rng(0)
    inputs, nodes, weights, before, last = [], [], {}, 3, "x"
    for number, channels in enumerate(CHANNELS):
        inputs.append(f"float[{channels}, {before}, 3, 3] w{number}")
        shape = (channels, before, 3, 3)
        weights[f"w{number}"] = rng.normal(size=shape) / np.sqrt(9 * before)
        stride = 1 if number == 0 else 2
        nodes.append(
            f"c{number} = Conv <pads = [1, 1, 1, 1], strides = [{stride}, {stride}]> "
            f"({last}, w{number}) r{number} = Relu (c{number})"
        )
        before, last = channels, f"r{number}"
    weights["d"] = rng.normal(size=(before, 10))
    model = ir.from_onnx_text(
        f'<ir_version: 9, opset_import: ["" : 18]> net (float[n, 3, {SIDE}, {SIDE}] x, '
        f"{', '.join(inputs)}, float[{before}, 10] d) => (float[n, 10] y) "
        f"{{ {' '.join(nodes)} p = GlobalAveragePool ({last}) f = Flatten (p) y = MatMul (f, d) }}"
    )
    for value in model.graph.inputs[1:]:
        value.const_value = ir.tensor(weights[str(value.name)].astype(np.float32), name=value.name)
        model.graph.register_initializer(value)
    del model.graph.inputs[1:]
    ir.save(model, path)


def write_images(path: Path, samples: int) -> None:
    """Write images of noise over flat colours, piece by piece."""
    rng = np.random.default_rng(1)
    images = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(samples, 3, SIDE, SIDE)
    )
    for start in range(0, samples, 256):
        rows = images[start : start + 256]
        rows[:] = rng.normal(size=(len(rows), 3, 1, 1)) + rng.standard_normal(rows.shape)


def one(folder: Path, options: dict[str, Any], *, kill: bool) -> dict[str, Any]:
    """Calibrate in this process; the seconds, the bytes' digest and the peak memory."""
    from converter import calibrate
    from runtimes.process_memory import own_peak_bytes

    output = folder / "out.stats"
    start = time.perf_counter()
    progress = killer() if kill else None
    calibrate(
        folder / "net.onnx", output, folder / "x.npy", force=True, progress=progress, **options
    )
    return {
        "seconds": time.perf_counter() - start,
        "digest": hashlib.sha256(output.read_bytes()).hexdigest()[:16],
        "client_mb": (own_peak_bytes() or 0) / 1e6,
    }


def killer() -> Callable[..., None]:
    """Progress that kills one worker when the first shard is done."""
    killed: list[int] = []

    def progress(stage: str, done: int | None = None, total: int | None = None) -> None:
        if stage == "calibrating shards" and not killed:
            killed.extend(worker_processes()[:1])
            os.kill(killed[0], signal.SIGKILL)

    return progress


def worker_processes() -> list[int]:
    """Workers that this process has started."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"runtimes.distributed.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def measured(folder: Path, options: dict[str, Any], *, kill: bool = False) -> dict[str, Any]:
    """``one`` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(folder), "--options", json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *(["--kill"] if kill else [])],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def on_cluster(folder: Path, workers: int) -> dict[str, Any]:
    """``measured`` with a Dask cluster of so many processes."""
    from distributed import LocalCluster

    os.environ["PYTHONPATH"] = str(ROOT)
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        return measured(folder, {"cluster": cluster.scheduler_address})


def main() -> None:
    """Print a row for each way to calibrate; end with 1 where bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(one(args.one, json.loads(args.options), kill=args.kill)))
        return
    counts = [int(one) for one in args.workers.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "net.onnx")
        write_images(folder / "x.npy", args.samples)
        rows = {"in this process": measured(folder, {})}
        start = measured(folder, {"shard": f"0/{-(-args.samples // 32)}"})["seconds"]
        predicted = {"in this process": rows["in this process"]["seconds"]}
        each = (predicted["in this process"] - start) / args.samples
        for count in counts:
            if count > 1:
                rows[f"{count} processes"] = measured(folder, {"workers": count})
                predicted[f"{count} processes"] = makespan(Job(args.samples, count, each, start))
            if args.cluster:
                rows[f"Dask, {count} workers"] = on_cluster(folder, count)
        if args.kill:
            rows["2 processes, one killed"] = measured(folder, {"workers": 2}, kill=True)
    first = next(iter(rows.values()))
    for label, row in rows.items():
        speedup = first["seconds"] / row["seconds"]
        model = f"{predicted[label]:7.1f} s" if label in predicted else ""
        same = "" if row["digest"] == first["digest"] else "DIFFERS"
        print(
            f"{label:26} {row['seconds']:7.1f} s {speedup:5.2f}x  model {model:9}  "
            f"client {row['client_mb']:6.0f} MB  {row['digest']} {same}"
        )
    if len({row["digest"] for row in rows.values()}) > 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
