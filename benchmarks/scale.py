"""Do calibration and checks scale over workers, with the same result whatever happens to them?

    python benchmarks/scale.py [--job calibrate|check] [--samples 4000] [--workers 1,2,4]
                               [--cluster] [--kill]

A convolutional network is calibrated on random images, or compared with another one, by one
process, by so many processes of this machine, and with ``--cluster`` by a Dask cluster of as many.
Every file of statistics (every report) must be that of the first row; with ``--kill`` a worker dies
on the way. Seconds are wall time, and how many times faster than the first row that is. ``client``
is the peak memory of the process that merges; the row of a fifth of the samples tells whether it
grows with them. ``model`` is what ``benchmarks/scale_model.py`` predicts from the first row and a
run of one block.

``2 alone`` is the ceiling of two workers: two processes that know nothing of each other, each with
half of the samples. Where CPUs are threads of one core, that is well below twice as fast.
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


def write_model(path: Path, off: float = 0.0) -> None:
    """Write four convolutions of growing width and a classifier; ``off``: what is added to it."""
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
    weights["d"] = rng.normal(size=(before, 10)) + off
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


def one(folder: Path, job: str, options: dict[str, Any], *, kill: bool) -> dict[str, Any]:
    """Do the job in this process; the seconds, the digest of the result and the peak memory."""
    from runtimes.process_memory import own_peak_bytes

    start = time.perf_counter()
    found = JOBS[job](folder, options, killer() if kill else None)
    return {
        "seconds": time.perf_counter() - start,
        "digest": hashlib.sha256(found).hexdigest()[:16],
        "client_mb": (own_peak_bytes() or 0) / 1e6,
    }


def calibrated(folder: Path, options: dict[str, Any], progress: Any) -> bytes:
    """The bytes of a file of statistics."""
    from converter import calibrate

    output = folder / f"{os.getpid()}.stats"
    data = folder / options.pop("data", "x.npy")
    calibrate(folder / "net.onnx", output, data, force=True, progress=progress, **options)
    return output.read_bytes()


def checked(folder: Path, options: dict[str, Any], progress: Any) -> bytes:
    """The bytes of a shard that was compared, or a report of all of them."""
    from runtimes import Workers, check, compare_shard

    models = folder / "net.onnx", folder / "other.onnx"
    data = folder / options.pop("data", "x.npy")
    asked: dict[str, Any] = {"min_sqnr": 20, "stress": "none", "progress": progress}
    if "shard" in options:
        output = folder / f"{os.getpid()}.parity"
        compare_shard(*models, data, output, **options, **asked)
        return output.read_bytes()
    return repr(
        check(*models, data, spread=Workers(**options) if options else None, **asked)
    ).encode()


JOBS: dict[str, Callable[[Path, dict[str, Any], Any], bytes]] = {
    "calibrate": calibrated,
    "check": checked,
}


def killer() -> Callable[..., None]:
    """Progress that kills one worker when the first shard is done."""
    killed: list[int] = []

    def progress(stage: str, done: int | None = None, total: int | None = None) -> None:
        if stage in ("calibrating shards", "comparing shards") and not killed:
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


def started(
    folder: Path, job: str, options: dict[str, Any], *, kill: bool = False
) -> subprocess.Popen[str]:
    """``one`` in a process of its own."""
    command = [sys.executable, __file__, "--job", job, "--one", str(folder)]
    command += ["--options", json.dumps(options), *(["--kill"] if kill else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What ``one`` found."""
    printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def measured(
    folder: Path, job: str, options: dict[str, Any], *, kill: bool = False
) -> dict[str, Any]:
    """``one`` in a process of its own, alone."""
    return ended(started(folder, job, options, kill=kill))


def two_alone(folder: Path, job: str) -> dict[str, Any]:
    """Two processes at the same time, each with half of the samples; the slower one counts."""
    both = [ended(one) for one in [started(folder, job, {"shard": f"{i}/2"}) for i in range(2)]]
    return {**max(both, key=lambda found: found["seconds"]), "digest": ""}


def cpus() -> str:
    """How many CPUs there are here, and of how many cores they are threads."""
    folder = Path("/sys/devices/system/cpu")
    here = sorted(os.sched_getaffinity(0))
    cores = set()
    for cpu in here:
        siblings = folder / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.add(siblings.read_text().strip() if siblings.exists() else str(cpu))
    return f"{len(here)} CPUs, threads of {len(cores)} core{'s' if len(cores) != 1 else ''}"


def on_cluster(folder: Path, job: str, workers: int) -> dict[str, Any]:
    """``measured`` with a Dask cluster of so many processes."""
    from distributed import LocalCluster

    os.environ["PYTHONPATH"] = str(ROOT)
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        return measured(folder, job, {"cluster": cluster.scheduler_address})


def main() -> None:
    """Print a row for each way to calibrate; end with 1 where bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", choices=list(JOBS), default="calibrate")
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(one(args.one, args.job, json.loads(args.options), kill=args.kill)))
        return
    job = args.job
    counts = [int(one) for one in args.workers.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "net.onnx")
        write_model(folder / "other.onnx", off=1e-3)
        write_images(folder / "x.npy", args.samples)
        write_images(folder / "fifth.npy", args.samples // 5)
        rows = {"in this process": measured(folder, job, {})}
        start = measured(folder, job, {"shard": f"0/{-(-args.samples // 32)}"})["seconds"]
        predicted = {"in this process": rows["in this process"]["seconds"]}
        each = (predicted["in this process"] - start) / args.samples
        for count in counts:
            if count > 1:
                rows[f"{count} processes"] = measured(folder, job, {"workers": count})
                predicted[f"{count} processes"] = makespan(Job(args.samples, count, each, start))
            if args.cluster:
                rows[f"Dask, {count} workers"] = on_cluster(folder, job, count)
        rows["2 alone"] = two_alone(folder, job)
        if args.kill:
            rows["2 processes, one killed"] = measured(folder, job, {"workers": 2}, kill=True)
        fifth = measured(folder, job, {"workers": 2, "data": "fifth.npy"})
    first = next(iter(rows.values()))
    print(f"{job}, {args.samples} samples; {cpus()}")
    for label, row in rows.items():
        speedup = first["seconds"] / row["seconds"]
        model = f"{predicted[label]:7.1f} s" if label in predicted else ""
        same = "" if row["digest"] in ("", first["digest"]) else "DIFFERS"
        print(
            f"{label:26} {row['seconds']:7.1f} s {speedup:5.2f}x  model {model:9}  "
            f"client {row['client_mb']:6.0f} MB  {row['digest']} {same}"
        )
    print(
        f"{'2 processes, a fifth':26} {fifth['seconds']:7.1f} s {'':23}client "
        f"{fifth['client_mb']:6.0f} MB"
    )
    if len({row["digest"] for row in rows.values()} - {""}) > 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
