"""Does the same command give the same answer? ``kilnx compress`` again and again, busy or idle.

    python benchmarks/repeat.py MODEL DATA [--eval DATA] [--runs 10] [--load 0,2,4] [--cold 0]
                                [--output FOLDER] [-- OPTIONS OF COMPRESS]

Runs ``compress`` in processes of their own with one cost table that the first run fills, in turns
beside each number of busy processes; ``--cold`` adds runs with a table of their own each. Prints
size, speed-up, metric, CPU seconds and the digest of every run, then the spread. Exits with 1 if
the runs with one table differ by a byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no busy process stays
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--eval", type=Path, dest="evaluation")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--load", default="0", help="busy processes beside, such as 0,2,4")
    parser.add_argument("--cold", type=int, default=0, help="runs with a new table each")
    parser.add_argument("--output", type=Path, help="a folder to keep; else a temporary one")
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:place])
    options.options = sys.argv[place + 1 :]
    loads = [int(load) for load in options.load.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.output or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        warm, cold = [], []
        for number in range(options.runs):
            with busy(loads[number % len(loads)]):
                warm.append(run(options, folder, f"warm-{number}", folder / "cache"))
        for number in range(options.cold):
            cold.append(run(options, folder, f"cold-{number}", folder / f"cache-{number}"))
    for name, rows in (("one table", warm), ("a table each", cold)):
        if rows:
            print(f"{name}: {spread(rows)}")
    return int(len({row["digest"] for row in warm}) > 1)


def run(options: argparse.Namespace, folder: Path, name: str, cache: Path) -> dict[str, Any]:
    """One run, and what came of it."""
    output = folder / name
    command = [sys.executable, "-m", "converter", "compress", options.model, "-o", output]
    command += ["--data", options.data, "--force", *options.options]
    command += ["--eval", options.evaluation] if options.evaluation else []
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "XDG_CACHE_HOME": str(cache),
        "OMP_NUM_THREADS": "1",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [str(part) for part in command], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    row = {
        "smaller": report["baseline"]["size_bytes"] / report["result"]["size_bytes"],
        "faster": report["result"]["speedup"],
        "metric": report["result"]["metric"],
        "seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "digest": hashlib.sha256((output / "model.onnx").read_bytes()).hexdigest()[:12],
        "costs": (report["costs"] or {}).get("digest", "")[:12],
    }
    print(
        f"{name:8} {row['smaller']:6.2f}× smaller {row['faster']:5.2f}× as fast "
        f"metric {row['metric']} {row['seconds']:6.1f} CPU s  model {row['digest']} "
        f"costs {row['costs']}",
        flush=True,
    )
    return row


def spread(rows: Sequence[dict[str, Any]]) -> str:
    """How far the runs are apart."""
    parts = [f"{len({row['digest'] for row in rows})} digests of {len(rows)} runs"]
    for key in ("smaller", "faster", "seconds"):
        values = [float(row[key]) for row in rows]
        parts.append(f"{key} {min(values):.2f} to {max(values):.2f}")
    return ", ".join(parts)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that only compute."""
    code = "import numpy as np\na = np.ones((300, 300))\nwhile True: a @ a"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    others = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main())
