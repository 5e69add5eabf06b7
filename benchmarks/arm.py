"""Do INT8 files give the same answer on ARM? ONNX Runtime's aarch64 wheel under QEMU, and here.

    python benchmarks/arm.py model.onnx int8.onnx --data samples.npz [--core neoverse-n1]

Without files, the network of ``kilnx demo`` is trained, exported and quantized here first. Every
file runs on the same samples on x86 and on each ARM core that QEMU has a description of; the table
says how many elements of the outputs are the same bit by bit, the SQNR between the two machines,
and how many answers (argmax) differ. Needs a Debian or Ubuntu machine and the network, but no root;
everything is in one folder that is removed at the end, unless ``--keep`` names one. QEMU translates
instructions: its times say nothing. Exits with 1 if an answer differs by more than ``--allow``, and
with 3 if something that it needs cannot be had.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from arm_root import CORES, Unavailable, build, run

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("arm_worker.py")
sys.path.insert(0, str(ROOT))


def main() -> int:
    options = _options()
    try:
        with _folder(options.keep) as folder:
            rows = compare(folder, options)
    except Unavailable as error:
        print(f"arm.py: {error}", file=sys.stderr)
        return 3
    _print(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["changed"] > options.allow for row in rows if row["changed"] is not None))


def compare(folder: Path, options: Any) -> list[dict[str, Any]]:
    """One row a file, core and output."""
    versions = {name: metadata.version(name) for name in ("onnxruntime", "numpy")}
    build(folder / "arm", versions)
    files, data = (options.models, options.data) if options.models else _demo(folder)
    feed = _samples(data, files[0], options.samples, folder)
    here = _jobs(files, feed, folder / "x86")
    _checked(_run([sys.executable, str(WORKER), str(here)]), "x86")
    rows = []
    for core in options.core or CORES:
        there = _jobs(files, feed, folder / core)
        done = run(folder / "arm", core, [str(WORKER), str(there)], timeout=options.timeout)
        _checked(done, core)
        for file, one, other in zip(files, _results(here), _results(there), strict=True):
            rows += [{"file": file.name, "core": core, **row} for row in differences(one, other)]
    return rows


def differences(here: Path, there: Path) -> Iterator[dict[str, Any]]:
    """How far the outputs of two machines are apart, output by output."""
    with np.load(here) as ours, np.load(there) as theirs:
        for name in ours.files:
            a, b = ours[name], theirs[name]
            noise = float(np.sum((a.astype(np.float64) - b.astype(np.float64)) ** 2))
            signal = float(np.sum(a.astype(np.float64) ** 2))
            answers = a.ndim > 1 and a.shape[-1] > 1
            yield {
                "output": name,
                "elements": a.size,
                "same": int((a == b).sum()),
                "max": float(np.abs(a.astype(np.float64) - b).max()) if a.size else 0.0,
                "sqnr": 10 * float(np.log10(signal / noise)) if noise else None,
                "samples": len(a),
                "changed": int((a.argmax(-1) != b.argmax(-1)).sum()) if answers else None,
            }


def _samples(data: Path, model: Path, count: int, folder: Path) -> Path:
    """The inputs of the first samples, alone in a file."""
    from runtimes import Dataset
    from runtimes.onnx_files.load_save import load_model, model_inputs

    inputs = model_inputs(load_model(model))
    batch = next(iter(Dataset.open(data, inputs=inputs).batches(count)))
    path = folder / "feed.npz"
    np.savez(path, **batch.feed)
    return path


def _demo(folder: Path) -> tuple[list[Path], Path]:
    """The digits of ``kilnx demo``: the plain export, and what compress made of it."""
    from converter.demo import load_digits

    out, data = folder / "demo", folder / "digits.npz"
    command = [sys.executable, "-m", "converter", "demo", "-o", str(out), "--force", "--quiet"]
    _checked(_run(command), "kilnx demo")
    np.savez(data, **load_digits(seed=0)[1])
    return [out / "fp32.onnx", out / "model.onnx"], data


def _jobs(files: Sequence[Path], feed: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    jobs = [
        {"model": str(file.resolve()), "data": str(feed), "output": str(folder / f"{place}.npz")}
        for place, file in enumerate(files)
    ]
    path = folder / "jobs.json"
    path.write_text(json.dumps(jobs), encoding="utf-8")
    return path


def _results(jobs: Path) -> list[Path]:
    return [Path(job["output"]) for job in json.loads(jobs.read_text(encoding="utf-8"))]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _checked(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise Unavailable(f"{what} failed: {lines[-1] if lines else done.returncode}")


def _print(rows: Sequence[dict[str, Any]]) -> None:
    print(f"{'file':24} {'core':12} {'output':16} {'same':>8} {'SQNR':>9} {'largest':>9}  answers")
    for row in rows:
        same = f"{row['same'] / max(row['elements'], 1):.2%}"
        sqnr = "-" if row["sqnr"] is None else f"{row['sqnr']:.1f} dB"
        changed = "-" if row["changed"] is None else f"{row['changed']} of {row['samples']}"
        print(
            f"{row['file'][:24]:24} {row['core']:12} {row['output'][:16]:16} {same:>8} {sqnr:>9} "
            f"{row['max']:9.2g}  {changed}"
        )


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The folder of everything: a temporary one, or the one to ``keep``."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="kilnx-arm-") as name:
        yield Path(name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, help="ONNX files; else those of kilnx demo")
    parser.add_argument("--data", type=Path, help="samples, as kilnx check takes them")
    parser.add_argument("--core", action="append", choices=list(CORES), help="repeatable")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--allow", type=int, default=0, help="answers that may differ")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for each core")
    parser.add_argument("--keep", type=Path, help="a folder for everything, which stays")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    if options.models and options.data is None:
        parser.error("--data is needed with files of your own")
    return options


if __name__ == "__main__":
    sys.exit(main())
