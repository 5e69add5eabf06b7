"""What training recovers: ``compress`` with and without it, judged on samples that nobody saw.

    python benchmarks/recover.py FOLDER... [--seeds 0,1,2] [--ways recover,no-recover]
                                 [--costs FILE] [--output FOLDER] [--time]

Each folder holds ``calibration.npz``, ``test.npz``, and a model (``.onnx``, ``.keras`` or
``.h5``), such as ``benchmarks/recover_models.py`` makes. Half of the test samples judge
(``--eval``); the other half, which nothing of kilnx sees, give the figures: the metric where there
are labels and agreement with fp32 where there are none, clean and under white noise of a tenth of
the data's range. CPU seconds and the largest resident memory are those of the command. With
``--output`` what was measured is kept there, and a run that is there already is not repeated.
``--time``: at the end all files are timed next to fp32, interleaved, for which the machine should
be idle; else the speed is what each run saw.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from runtimes import check, evaluate, profile  # noqa: E402
from runtimes.data.dataset import Dataset  # noqa: E402

_MODELS = ("*.onnx", "*.keras", "*.h5", "*.hdf5")
_NOISE = 0.1
_HEAD = "model | seed | way | multiply-adds | size | speed | metric | noise 0.1 | CPU s | MB"


@dataclass(frozen=True)
class Run:
    """One way of one model and seed; what it writes is in ``out``."""

    folder: Path
    seed: int
    way: str
    target: Path

    @property
    def out(self) -> Path:
        """The folder that the command writes."""
        return self.target / self.way

    @property
    def kept(self) -> Path:
        """What was measured."""
        return self.target / f"{self.way}.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--ways", default="no-recover,recover")
    parser.add_argument("--costs", type=Path, help="a cost table for all runs")
    parser.add_argument("--output", type=Path, help="a folder to keep; else a temporary one")
    parser.add_argument("--time", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        kept = (options.output or Path(scratch)).resolve()
        runs = list(asked(options, kept))
        for run in runs:
            if not run.kept.exists():
                run.kept.write_text(json.dumps(measured(run, options.costs), indent=1) + "\n")
        if options.time:
            for run in runs:
                time_file(run)
        print(f"| {_HEAD} |\n|{'---|' * (_HEAD.count('|') + 1)}")
        for run in runs:
            found = json.loads(run.kept.read_text())
            if run.way == runs[0].way:
                print(line(run, "fp32", found["fp32"]))
            print(line(run, run.way, found))
    return 0


def asked(options: argparse.Namespace, kept: Path) -> Iterator[Run]:
    """All runs; what each judges by is there."""
    for folder in options.folders:
        for seed in map(int, options.seeds.split(",")):
            target = kept / f"{folder.name}-{seed}"
            target.mkdir(parents=True, exist_ok=True)
            halve(folder / "test.npz", target, seed)
            for way in options.ways.split(","):
                yield Run(folder, seed, way, target)


def halve(path: Path, target: Path, seed: int) -> None:
    """Write the samples that judge, and those that nothing sees."""
    with np.load(path) as arrays:
        whole = {name: arrays[name] for name in arrays.files}
    count = len(next(iter(whole.values())))
    order = np.random.default_rng(seed).permutation(count)
    for name, rows in (("judging", order[: count // 2]), ("unseen", order[count // 2 :])):
        np.savez(target / name, **{key: array[rows] for key, array in whole.items()})


def measured(run: Run, costs: Path | None) -> dict[str, Any]:
    """One run of ``compress``, and what came of it."""
    used = compress(run, costs)
    report = json.loads((run.out / "report.json").read_text(encoding="utf-8"))
    reference = run.out / "fp32.onnx"
    scored = {
        name: scores(run.out / f"{name}.onnx", reference, run.target / "unseen.npz", report)
        for name in ("fp32", "model")
    }
    return {**figures(report), **scored["model"], **used, "fp32": scored["fp32"]}


def compress(run: Run, costs: Path | None) -> dict[str, float]:
    """One run of the command; its CPU seconds and memory."""
    model = next(found for pattern in _MODELS for found in sorted(run.folder.glob(pattern)))
    command: list[Any] = [sys.executable, "-m", "converter", "compress", model, "-o", run.out]
    command += [f"--{run.way}", "--data", run.folder / "calibration.npz"]
    command += ["--eval", run.target / "judging.npz", "--seed", run.seed, "--force"]
    command += ["--costs", costs] if costs else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(part) for part in command], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed")
    return {"cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024}


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """How much smaller and faster, and which steps did it."""
    before, after = report["baseline"], report["result"]
    steps = {step["name"]: step for step in report["steps"]}
    found = {
        "smaller": before["size_bytes"] / after["size_bytes"],
        "faster": after["speedup"],
        "steps": {name: [step["kept"], step["reason"]] for name, step in steps.items()},
        "macs": 1.0,
    }
    pruned = steps.get("prune", {})
    if pruned.get("kept") and pruned["details"].get("before"):
        counts = pruned["details"]
        found["macs"] = counts["before"]["macs"] / max(1, counts["after"]["macs"])
    return found


def scores(model: Path, reference: Path, unseen: Path, report: dict[str, Any]) -> dict[str, float]:
    """The metric, or else the agreement, on samples that nothing saw, clean and with noise."""
    metric = report["metric"]["name"]
    with np.load(unseen) as arrays:
        clean = {name: arrays[name] for name in arrays.files}
    random = np.random.default_rng(0)
    noisy = {
        name: with_noise(array, random) if array.dtype.kind == "f" and array.ndim > 1 else array
        for name, array in clean.items()
    }
    found = {}
    for name, arrays in (("metric", clean), ("noise", noisy)):
        data = Dataset.open(arrays)
        if metric is not None:
            found[name] = evaluate(model, data, metric)
        else:
            found[name] = check(reference, model, data, stress="none").outputs[0].agreement
    return found


def with_noise(array: Any, random: np.random.Generator) -> Any:
    """White noise of a tenth of the range, within the range."""
    low, high = array.min(), array.max()
    noise = _NOISE * (high - low) * random.standard_normal(array.shape)
    return np.clip(array + noise, low, high).astype(array.dtype)


def time_file(run: Run) -> None:
    """Put the speed next to fp32 at batch 1, one thread, into what was measured."""
    found = json.loads(run.kept.read_text())
    pair = run.out / "model.onnx", run.out / "fp32.onnx"
    timed = profile(pair[0], against=pair[1], batch=(1,), min_time=0.2).batches[0]
    found |= {"faster": timed.ratio, "faster_low": timed.ratio_low, "faster_high": timed.ratio_high}
    run.kept.write_text(json.dumps(found, indent=1) + "\n")


def line(run: Run, way: str, found: dict[str, Any]) -> str:
    """One row of the table."""

    def cell(key: str, form: str) -> str:
        return form.format(found[key]) if found.get(key) is not None else ""

    cells = [
        cell("macs", "1/{:.1f}"),
        cell("smaller", "1/{:.1f}"),
        cell("faster", "{:.2f}×"),
        cell("metric", "{:.4f}"),
        cell("noise", "{:.4f}"),
        cell("cpu", "{:.0f}"),
        cell("mb", "{:.0f}"),
    ]
    return f"| {run.folder.name} | {run.seed} | {way} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
