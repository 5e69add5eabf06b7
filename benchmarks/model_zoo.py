"""Do the models of the Keras libraries export right? keras-hub, kimm, keras-rs, keras-tcn.

    python benchmarks/model_zoo.py [--library NAME] [--only REGEX] [--json zoo.json]

Every model is built from a small configuration with random weights, converted through the public
interface, and judged by plain ONNX Runtime against Keras at two batches and two sizes of every
free dimension. Outcomes: right; refused, with the reason; wrong; traceback (and models that ended
at the limit of time or memory); keras, where Keras itself cannot run the model.

A library is installed with a copy of kilnx into a virtual environment under ``--cache``, on first
use; ``--python`` names one that has both. With ``--json`` an earlier run is taken up: what it found
stays unless ``--again`` asks for it. Exits with 1 when a model is wrong or ends in a traceback.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from case_table import table, totals
from peer_environment import python_with

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

LIBRARIES = {"keras-hub": "zoo_keras_hub", "others": "zoo_keras_others"}
"""The modules of the cases; they name their packages and import nothing of them by themselves."""

STATUSES = ("right", "refused", "wrong", "traceback", "keras")


def main() -> int:
    options = _arguments()
    rows: list[dict[str, Any]] = []
    if options.json and options.json.exists():
        rows = json.loads(options.json.read_text(encoding="utf-8"))["models"]
    for library in options.library or LIBRARIES:
        again = re.compile(options.again) if options.again else None
        known = {r["case"] for r in rows if not (again and again.search(r["case"]))}
        for row in outcomes(library, known, options):
            rows = [r for r in rows if r["case"] != row["case"]] + [{"library": library, **row}]
            print(f"{row['status']:9} {row['seconds']:6.1f} s  {row['case']}", file=sys.stderr)
            if options.json:
                options.json.write_text(json.dumps(report(rows), indent=1) + "\n", encoding="utf-8")
    print(table(rows, "library", STATUSES))
    for row in rows:
        if row["status"] != "right":
            print(f"{row['status']:9} {row['case']}\n          {row['detail'][:400]}")
    return int(any(row["status"] in ("wrong", "traceback") for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--library", action="append", choices=list(LIBRARIES))
    parser.add_argument("--only", default="", help="cases whose name matches this")
    parser.add_argument("--again", default="", help="cases to try although --json has them")
    parser.add_argument("--json", type=Path, help="outcomes: read at the start, then written")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "kilnx-zoo")
    parser.add_argument("--python", help="an interpreter that has kilnx and the libraries")
    parser.add_argument("--seconds", type=float, default=300, help="for one model")
    parser.add_argument("--gigabytes", type=float, default=6, help="for one model")
    parser.add_argument("--from-file", action="store_true", help="convert the saved .keras file")
    return parser.parse_args()


def outcomes(
    library: str, known: set[str], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """What comes of the cases of a library that are asked for and not known, one by one."""
    module = importlib.import_module(LIBRARIES[library])
    names = [case.name for case in module.cases() if re.search(options.only, case.name)]
    wanted = [name for name in names if name not in known]
    if not wanted:
        return
    python = options.python or environment(library, module.PACKAGES, options.cache)
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "cases"
        listed.write_text("\n".join(wanted), encoding="utf-8")
        command = [python, str(ROOT / "benchmarks" / "zoo_worker.py")]
        command += ["--library", LIBRARIES[library], "--cases", str(listed)]
        command += ["--seconds", str(options.seconds), "--gigabytes", str(options.gigabytes)]
        command += ["--from-file"] * options.from_file
        quiet = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, **quiet}
        ) as worker:
            for line in worker.stdout or ():
                if line.startswith("{"):
                    yield json.loads(line)
        if worker.returncode:
            raise SystemExit(f"the worker of {library} ended with {worker.returncode}")


def environment(library: str, packages: tuple[str, ...], cache: Path) -> str:
    """The Python of a virtual environment with kilnx and the library, made on first use."""
    return python_with([f"{ROOT}[cpu,keras]", *packages], cache / library)


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``--json`` writes."""
    return {"totals": totals(rows), "models": rows}


if __name__ == "__main__":
    sys.exit(main())
