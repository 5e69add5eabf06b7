"""What training recovers: ``compress`` with and without it, judged on samples that nobody saw.

    python benchmarks/recover.py FOLDER... [--seeds 0,1,2] [--costs FILE] [--output FOLDER]

Each folder holds ``calibration.npz``, ``test.npz`` with labels, and a model (``.onnx``, ``.keras``
or ``.h5``). Half of the test samples judge (``--eval``); the other half, which nothing of kilnx
sees, give the figures: multiply-adds, size, latency, and the metric clean and under white noise of
a tenth of the data's range. CPU seconds and the largest resident memory are those of the command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from runtimes import evaluate  # noqa: E402
from runtimes.data.dataset import Dataset  # noqa: E402

_MODELS = ("*.onnx", "*.keras", "*.h5", "*.hdf5")
_WAYS = ("--no-recover", "--recover")
_NOISE = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--costs", type=Path, help="a cost table for all runs")
    parser.add_argument("--output", type=Path, help="a folder to keep; else a temporary one")
    options = parser.parse_args()
    print(
        "| model | seed | way | multiply-adds | size | speed | metric | noise | CPU s | MB |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as scratch:
        kept = (options.output or Path(scratch)).resolve()
        for folder in options.folders:
            for seed in map(int, options.seeds.split(",")):
                target = kept / f"{folder.name}-{seed}"
                target.mkdir(parents=True, exist_ok=True)
                for line in compare(folder, seed, options.costs, target):
                    print(line, flush=True)
    return 0


def compare(folder: Path, seed: int, costs: Path | None, target: Path) -> Sequence[str]:
    """A line for fp32 and one for each way."""
    judging, unseen = halves(folder / "test.npz", target, seed)
    lines = []
    for way in _WAYS:
        out = target / way.strip("-")
        used = run(folder, judging, out, seed, way, costs)
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        if not lines:
            lines.append(line(folder.name, seed, "fp32", scores(out / "fp32.onnx", unseen, report)))
        measured = {**figures(report), **scores(out / "model.onnx", unseen, report), **used}
        lines.append(line(folder.name, seed, way, measured))
    return lines


def halves(path: Path, target: Path, seed: int) -> tuple[Path, Path]:
    """The samples that judge, and those that nothing sees."""
    with np.load(path) as arrays:
        whole = {name: arrays[name] for name in arrays.files}
    count = len(next(iter(whole.values())))
    order = np.random.default_rng(seed).permutation(count)
    paths = target / "judging.npz", target / "unseen.npz"
    for place, rows in zip(paths, (order[: count // 2], order[count // 2 :]), strict=True):
        np.savez(place, **{name: array[rows] for name, array in whole.items()})
    return paths


def run(  # noqa: PLR0917
    folder: Path, judging: Path, out: Path, seed: int, way: str, costs: Path | None
) -> dict[str, float]:
    """One run of ``compress``; its CPU seconds and memory."""
    model = next(found for pattern in _MODELS for found in sorted(folder.glob(pattern)))
    command: list[Any] = [sys.executable, "-m", "converter", "compress", model, "-o", out, way]
    command += ["--data", folder / "calibration.npz", "--eval", judging, "--seed", seed, "--force"]
    command += ["--costs", costs] if costs else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(part) for part in command], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed")
    return {"cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024}


def figures(report: dict[str, Any]) -> dict[str, float]:
    """How much smaller and faster."""
    before, after = report["baseline"], report["result"]
    pruned: dict[str, Any] = next(
        (step["details"] for step in report["steps"] if step["name"] == "prune" and step["kept"]),
        {},
    )
    found = {"smaller": before["size_bytes"] / after["size_bytes"], "faster": after["speedup"]}
    if pruned.get("before"):
        found["macs"] = pruned["before"]["macs"] / max(1, pruned["after"]["macs"])
    return found


def scores(model: Path, unseen: Path, report: dict[str, Any]) -> dict[str, float]:
    """The metric on samples that nothing saw, clean and with noise."""
    metric = report["metric"]["name"]
    if metric is None:
        return {}
    with np.load(unseen) as arrays:
        clean = {name: arrays[name] for name in arrays.files}
    random = np.random.default_rng(0)
    noisy = {
        name: with_noise(array, random) if array.dtype.kind == "f" and array.ndim > 1 else array
        for name, array in clean.items()
    }
    found = {}
    for name, data in (("metric", clean), ("noise", noisy)):
        found[name] = evaluate(model, Dataset.open(data), metric)
    return found


def with_noise(array: Any, random: np.random.Generator) -> Any:
    """White noise of a tenth of the range, within the range."""
    low, high = array.min(), array.max()
    noise = _NOISE * (high - low) * random.standard_normal(array.shape)
    return np.clip(array + noise, low, high).astype(array.dtype)


def line(name: str, seed: int, way: str, found: dict[str, float]) -> str:
    """One row of the table."""

    def cell(key: str, form: str) -> str:
        return form.format(found[key]) if key in found else ""

    cells = [
        cell("macs", "1/{:.1f}"),
        cell("smaller", "1/{:.1f}"),
        cell("faster", "{:.2f}×"),
        cell("metric", "{:.4f}"),
        cell("noise", "{:.4f}"),
        cell("cpu", "{:.0f}"),
        cell("mb", "{:.0f}"),
    ]
    return f"| {name} | {seed} | {way} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
