"""Are kilnx's files as fast as its peers'? The files of ``quantize.py``, interleaved.

    python benchmarks/quantize_speed.py --output FOLDER [--only CASE]... [--seconds 6]

FOLDER is the output folder of ``benchmarks/quantize.py``. Every round runs the float model and the
files of the quantizers below, in random order, with one thread. Prints the ratio of medians and
that of the lower quartiles, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from quantize_peer import inputs_of, session

FILES = ("kilnx", "ort_u8s8_minmax", "ort_dynamic", "quark")


def race(folder: Path, size: int, seconds: float) -> dict[str, tuple[float, float]]:
    """Speed against float by file: ratio of medians and of lower quartiles."""
    feed = {
        name: array[:size]
        for name, array in inputs_of(str(folder / "model.onnx"), str(folder / "test.npz")).items()
    }
    paths = {name: folder / f"{name}.onnx" for name in ("model", *FILES)}
    runners: dict[str, Any] = {n: session(str(p)) for n, p in paths.items() if p.exists()}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner.run(None, feed)
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    while len(times["model"]) < 9 or time.perf_counter() - begin < seconds:
        for name in rng.permutation(list(runners)):
            start = time.perf_counter()
            runners[name].run(None, feed)
            times[name].append(time.perf_counter() - start)
    middle = {name: float(np.median(found)) for name, found in times.items()}
    lower = {name: float(np.quantile(found, 0.25)) for name, found in times.items()}
    return {n: (middle["model"] / middle[n], lower["model"] / lower[n]) for n in runners}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", action="append")
    parser.add_argument("--seconds", type=float, default=6.0)
    args = parser.parse_args()
    print(f"| model | batch | {' | '.join(FILES)} |\n|---|---|{'---|' * len(FILES)}")
    for folder in sorted(path.parent for path in args.output.glob("*/model.onnx")):
        if args.only and folder.name not in args.only:
            continue
        for size in (1, 32):
            found = race(folder, size, args.seconds)
            cells = [
                f"{found[name][0]:.2f} ({found[name][1]:.2f})" if name in found else ""
                for name in FILES
            ]
            print(f"| {folder.name} | {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
