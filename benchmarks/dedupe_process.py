"""Parts of ``dedupe.py`` that run in separate processes, to measure their memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dedupe_models import run  # noqa: E402


def child(*arguments: object) -> Any:
    """Run a part of this file in a separate process; return what it prints."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def together(folder: Path, models: list[Path]) -> dict[str, float]:
    """PSS in MB of concurrent processes with one session each: in total, and of the weights."""
    from runtimes.profiling.memory import proportional_bytes

    command = [sys.executable, __file__, "one", str(folder)]
    started = [
        subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for path in models
    ]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        return {
            "total": sum(proportional_bytes(p.pid) for p in started) / 1e6,
            "private": sum(proportional_bytes(p.pid, "Pss_Anon") for p in started) / 1e6,
            "weights": sum(mapped_bytes(p.pid, str(folder / "pool")) for p in started) / 1e6,
        }
    finally:
        for process in started:
            process.communicate(b"\n")


def mapped_bytes(pid: int | str, folder: str) -> int:
    """PSS of the files under ``folder`` that a process maps."""
    total, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            inside = len(words) > 5 and words[5].startswith(folder)
        elif words[0] == "Pss:" and inside:
            total += int(words[1]) * 1024
    return total


def _sessions(folder: str, kind: str, count: str, *models: str) -> None:
    from runtimes import SharedWeights
    from runtimes.engines.ort import OrtRuntime, require_onnxruntime
    from runtimes.profiling.memory import proportional_bytes

    require_onnxruntime()
    feed = dict(np.load(f"{folder}/feed.npz"))
    before = proportional_bytes()
    with SharedWeights(f"{folder}/pool", threads=1, prepack=kind == "prepacked") as shared:
        opened = [
            OrtRuntime(path, threads=1) if kind == "plain" else shared.open(path)
            for path in models[: int(count)]
        ]
        results = [runtime.run(feed) for runtime in opened]
        after = proportional_bytes()
        equal = all(
            np.array_equal(next(iter(result.values())), run(Path(path), feed))
            for result, path in zip(results, models, strict=False)
        )
    print(json.dumps({"total": after, "added": after - before, "equal": equal}))


def _one(folder: str, model: str) -> None:
    from runtimes import SharedWeights

    feed = dict(np.load(f"{folder}/feed.npz"))
    with SharedWeights(f"{folder}/pool", threads=1, arena=False) as shared:
        runtime = shared.open(model)
        runtime.run(feed)
        print("ready", flush=True)
        sys.stdin.readline()
        runtime.close()


def _dedupe(folder: str) -> None:
    from converter.compression.dedupe import dedupe

    Path(folder, "out").mkdir()
    before, begin = peak(), time.perf_counter()
    report = dedupe(f"{folder}/m.onnx", f"{folder}/out/m.onnx")
    seconds = time.perf_counter() - begin
    merged = sum(len(merge.replaced) for merge in report.merged)
    print(json.dumps({"seconds": seconds, "peak": peak() - before, "merged": merged}))


def _store(folder: str) -> None:
    from runtimes.weight_store.store import create_store

    before, begin = peak(), time.perf_counter()
    create_store(f"{folder}/store", [f"{folder}/m.onnx"])
    print(json.dumps({"seconds": time.perf_counter() - begin, "peak": peak() - before}))


def peak() -> int:
    """Largest resident memory of this process so far, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


CHILDREN: dict[str, Callable[..., None]] = {
    "sessions": _sessions,
    "one": _one,
    "dedupe": _dedupe,
    "store": _store,
}


if __name__ == "__main__":
    CHILDREN[sys.argv[1]](*sys.argv[2:])
