"""Is a model of 3 GB served by two processes that may have 2 GB of memory each?

    python benchmarks/stages_large.py [--folder DIR] [--layers 45] [--limit 2e9]

A network of dense layers with 3 GB of random weights in external data is cut into two stages, by a
process that may have 1.25 times the bytes of its weights. Then one ``kilnx serve`` has the second
stage, and another one the model, of which it runs the first stage itself. Each is in a control
group of its own with ``--limit`` bytes, page cache included. Its answers are compared with those
that the whole model gave when it was cut. ``peak`` is what was resident at most, mapped files
included. Needs control groups of memory that this user may make, and 15 GB on the disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from stages import ROOT, write_network

WIDTH = 4096
GROUPS = Path("/sys/fs/cgroup")
FIRST, SECOND = 8792, 8791


@contextmanager
def memory_group(name: str, limit: int) -> Iterator[Path]:
    """A control group whose processes may have ``limit`` bytes together."""
    first = (GROUPS / "memory").is_dir()  # version 1 has a hierarchy for each resource
    group = (GROUPS / "memory" if first else GROUPS) / f"kilnx-{name}-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
        yield group
    finally:
        for _ in range(100):  # it is empty a moment after its processes have ended
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


@contextmanager
def started(group: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process in ``group``, which ends with the block."""
    enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", sys.executable]
    process = subprocess.Popen(
        [*enter, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


def peak_of(pid: int) -> str:
    """What a process had resident at most."""
    from runtimes.process_memory import own_peak_bytes

    return f"peak {(own_peak_bytes(pid) or 0) / 1e9:.2f} GB"


def cut(folder: Path, limit: int) -> None:
    """Cut the model in this process; prints the stages and the peak memory."""
    from runtimes.stages.partition import partition

    start = time.perf_counter()
    report = partition(
        folder / "net.onnx",
        folder / "net",
        max_bytes=limit,
        devices=["cpu", f"http://127.0.0.1:{SECOND}"],
        costs="none",
    )
    weights = ", ".join(f"{one.weight_bytes / 1e9:.2f} GB" for one in report.stages)
    took = time.perf_counter() - start
    print(f"cut into stages of {weights} in {took:.0f} s, {peak_of(os.getpid())}", flush=True)


def serve(folder: Path, limit: int) -> None:
    """Serve both stages under their limits, ask, and compare."""
    from runtimes.serving.client import ServedModel
    from runtimes.stages.proof import read_proof

    with ExitStack() as held:
        groups = [held.enter_context(memory_group(name, limit)) for name in ("two", "one")]
        command = ("-m", "converter", "serve", "--json", "--no-page", "--deadline", "600")
        second = held.enter_context(
            started(groups[0], *command, "--port", SECOND, folder / "net/stage-2.onnx")
        )
        if not _ready(second):
            sys.exit("the second stage is not served")
        first = held.enter_context(started(groups[1], *command, "--port", FIRST, folder / "net"))
        if not _ready(first):
            sys.exit("the model is not served")
        proof = read_proof(folder / "net")
        with ServedModel(f"http://127.0.0.1:{FIRST}/v2/models/net", seconds=600) as served:
            start = time.perf_counter()
            found = served.run(proof.feed)["y"]
            took = time.perf_counter() - start
        expected = proof.outputs["y"].astype(np.float64)
        noise = float(np.sum((found - expected) ** 2))
        decibels = np.inf if noise == 0 else 10 * np.log10(float(np.sum(expected**2)) / noise)
        print(f"answers of {len(found)} samples in {took:.2f} s, {decibels:.0f} dB SQNR")
        for name, process in (("first", first), ("second", second)):
            print(
                f"{name} of two servers, each with a limit of {limit / 1e9:.2f} GB: "
                f"{peak_of(process.pid)}"
            )


def _ready(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return bool(process.stdout.readline())


def main(arguments: Sequence[str] | None = None) -> None:
    """Cut the model and serve it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the files go, and stay")
    parser.add_argument("--layers", type=int, default=45)
    parser.add_argument("--limit", type=float, default=2e9)
    parser.add_argument("--cut", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    size, limit = 4 * WIDTH**2 * args.layers, int(args.limit)
    if args.cut:
        cut(args.folder, int(limit * 0.8))
        return
    with ExitStack() as held:
        folder = args.folder or Path(held.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        if not (folder / "net.onnx").exists():
            write_network(folder / "net.onnx", WIDTH, args.layers, data="net.data")
        print(f"a model with {size / 1e9:.2f} GB of weights", flush=True)
        if not (folder / "net").exists():
            group = held.enter_context(memory_group("cut", int(1.25 * size)))
            this = (__file__, "--cut", "--folder", folder, "--limit", args.limit)
            with started(group, *this) as cutting:
                print(cutting.communicate()[0], end="", flush=True)
                if cutting.returncode:
                    sys.exit(f"it cannot be cut with {1.25 * size / 1e9:.2f} GB of memory")
        serve(folder, limit)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
