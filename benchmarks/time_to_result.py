"""How long until there is a result? CPU seconds, memory, and what came of it, next to each other.

    python benchmarks/time_to_result.py [--only tour,demo,unet,resnet50] [--models FOLDER...]
                                        [--costs FILE] [--output FOLDER] [--json FILE]

- ``tour``: the commands of docs/tour.md, the training of its network among them;
- ``demo``: ``kilnx demo``;
- ``unet``: ``compress`` of a U-Net of half a megabyte, judged by the overlap of its masks;
- ``resnet50``: ``quantize`` of a ResNet50 at 224 with 128 samples;
- each of ``--models``, a folder with ``model.keras``, ``calibration.npz`` and ``test.npz``:
  ``compress``.

The models are made by ``benchmarks/time_models.py`` first; that does not count. Every command is a
process of its own with one thread, and all share a cost table that is empty at first (or
``--costs``). Seconds of processor time hardly depend on what else runs, except that more is timed
on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KILNX = (sys.executable, "-m", "converter")
_MADE = ("tour", "demo", "unet", "resnet50")
_OPTIONS = {"unet": ("--metric", "iou"), "resnet50": ("--metric", "top1")}


@dataclass(frozen=True)
class Spent:
    """What a process took."""

    cpu: float
    wall: float
    megabytes: float


@dataclass(frozen=True)
class Row:
    """One case: what it took, and what came of it; a dash for what it does not tell."""

    case: str
    command: str
    cpu_s: str
    wall_s: str
    mb: str
    size: str = "–"
    speed: str = "–"
    metric: str = "–"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(_MADE), help="which of the made cases")
    parser.add_argument("--models", nargs="*", type=Path, default=[])
    parser.add_argument("--costs", type=Path, help="a cost table for all runs")
    parser.add_argument("--output", type=Path, help="a folder to keep; else a temporary one")
    parser.add_argument("--json", type=Path, help="a file for the rows")
    options = parser.parse_args()
    wanted = [name for name in options.only.split(",") if name]
    if unknown := set(wanted) - set(_MADE):
        parser.error(
            f"no case is called {', '.join(sorted(unknown))}; there are {', '.join(_MADE)}"
        )
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.output or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        print(f"| {' | '.join(one.name for one in fields(Row))} |")
        print("|---" * len(fields(Row)) + "|")
        for row in cases(wanted, options.models, folder, options.costs):
            print(f"| {' | '.join(vars(row).values())} |", flush=True)
            rows.append(vars(row))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


def cases(
    wanted: Sequence[str], models: Sequence[Path], folder: Path, costs: Path | None
) -> Iterator[Row]:
    """A row for each command, or for all of a case."""
    run = Runner(folder, costs)
    if "tour" in wanted:
        yield from tour(run)
    if "demo" in wanted:
        output = folder / "demo"
        spent, _ = run(*KILNX, "demo", "-o", output, "--force")
        yield row("demo", "demo", spent, *of_report(output))
    if "unet" in wanted:
        yield compress(run, made("unet", folder), _OPTIONS["unet"])
    for model in models:
        yield compress(run, model)
    if "resnet50" in wanted:
        yield quantize(run, made("resnet50", folder))


def tour(run: Runner) -> Iterator[Row]:
    """The commands of the tour, one after the other, and their sum."""
    data = ("--data", "train.npz", "--eval", "test.npz")
    budget = ("--metric", "top1", "--max-drop", "0.005")
    small = "out/model.onnx"
    commands: dict[str, tuple[str | Path, ...]] = {
        "train": (sys.executable, ROOT / "examples" / "digits.py"),
        "compress": (
            *KILNX,
            "compress",
            "digits.keras",
            "-o",
            "out",
            "--force",
            *data,
            *budget,
            *run.costs,
        ),
        "check": (*KILNX, "check", "digits.keras", small, "--data", "test.npz", *budget),
        "profile": (*KILNX, "profile", small, "--against", "out/fp32.onnx", "--batch", "1,8"),
    }
    total = []
    for name, command in commands.items():
        spent, _ = run(*command)
        total.append(spent)
        yield row("tour", name, spent)
    whole = Spent(
        sum(one.cpu for one in total),
        sum(one.wall for one in total),
        max(one.megabytes for one in total),
    )
    yield row("tour", "in all", whole, *of_report(run.folder / "out"))


def compress(run: Runner, source: Path, options: Sequence[str] = ()) -> Row:
    """``compress`` of a folder's model."""
    output = run.folder / f"{source.name}-out"
    spent, _ = run(
        *(*KILNX, "compress", source / "model.keras", "-o", output, "--force"),
        *("--data", source / "calibration.npz", "--eval", source / "test.npz"),
        *options,
        *run.costs,
    )
    return row(source.name, "compress", spent, *of_report(output))


def quantize(run: Runner, source: Path) -> Row:
    """``quantize`` of a folder's model, with half of its samples."""
    float_file, output = run.folder / "float.onnx", run.folder / "int8.onnx"
    run(*KILNX, "convert", source / "model.keras", "-o", float_file, "--force")
    command = ("quantize", float_file, "-o", output, "--force", "--json")
    data = ("--data", source / "calibration.npz", *_OPTIONS["resnet50"])
    spent, said = run(*KILNX, *command, *data, *run.costs)
    report = json.loads(said)
    smaller = float_file.stat().st_size / output.stat().st_size
    timed, metrics = report["latency"], (report["parity"] or {}).get("metrics") or [{}]
    ratio = timed["batches"][0]["ratio"] if timed and report["kept"] else 1.0
    before, after = metrics[0].get("reference"), metrics[0].get("candidate")
    return row(source.name, "quantize", spent, smaller, ratio, before, after)


class Runner:
    """Runs commands in ``folder`` with a cost table that they share."""

    def __init__(self, folder: Path, costs: Path | None) -> None:
        self.folder = folder
        self.costs = ("--costs", str(costs.resolve())) if costs else ()

    def __call__(self, *command: str | Path) -> tuple[Spent, str]:
        """What ``command`` took, and what it printed; its children count."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        printed, begin = self.folder / "printed.txt", time.perf_counter()
        with printed.open("w") as file:
            process = subprocess.Popen(
                [str(part) for part in command], stdout=file, env=environment, cwd=self.folder
            )
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code not in {0, 1}:  # 1: outside the budget
            raise SystemExit(f"{' '.join(map(str, command))} ended with {code}")
        spent = Spent(
            used.ru_utime + used.ru_stime, time.perf_counter() - begin, used.ru_maxrss / 1024
        )
        return spent, printed.read_text(encoding="utf-8")


def made(name: str, folder: Path) -> Path:
    """The folder of a model, which is made where it is not there."""
    target = folder / name
    if not (target / "test.npz").exists():
        maker = ROOT / "benchmarks" / "time_models.py"
        subprocess.run([sys.executable, str(maker), name, str(target)], check=True)
    return target


def of_report(output: Path) -> tuple[float, float, float | None, float | None]:
    """How many times smaller and as fast, and the metric before and after."""
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    before, after = report["baseline"], report["result"]
    smaller = before["size_bytes"] / after["size_bytes"]
    return smaller, after["speedup"] or 1.0, before["metric"], after["metric"]


def row(  # noqa: PLR0917
    case: str,
    command: str,
    spent: Spent,
    smaller: float | None = None,
    faster: float | None = None,
    before: Any = None,
    after: Any = None,
) -> Row:
    """Formatted."""
    return Row(
        case,
        command,
        f"{spent.cpu:.1f}",
        f"{spent.wall:.1f}",
        f"{spent.megabytes:.0f}",
        "–" if smaller is None else f"{smaller:.1f}× smaller",
        "–" if faster is None else f"{faster:.2f}×",
        "–" if before is None or after is None else f"{before:.4f} → {after:.4f}",
    )


if __name__ == "__main__":
    sys.exit(main())
