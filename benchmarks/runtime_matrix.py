"""Which runtime runs which model? Every case for every target, in float and in INT8.

    python benchmarks/runtime_matrix.py --output FOLDER [--models FOLDER] [--only CASE]...
        [--target NAME]... [--cache FOLDER]

A cell is made with ``--target`` and then run once more in the engines of the target, on the test
samples, next to the float model in ONNX Runtime: SQNR and agreement, or why kilnx refused. MNN and
ncnn, which kilnx does not run, run in environments of their own, made under ``--cache``. Each cell
has a process of its own, because engines abort and hang. ``WRONG`` is what must not be: a file that
kilnx wrote and that its engine is outside the budget on. The cases are those of ``quantize.py``.

``matrix.json`` in the folder keeps every cell, and a cell that is in it is not made again; the
table, over all of it, is printed and written to ``matrix.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mobile_runtime import MOBILE
from quantize_cases import cases
from runtime_matrix_table import is_wrong, shown, table

from runtimes.targets import target_names

FORMS = ("float", "INT8")
SAMPLES = 64  # the reference evaluator is slow
BUDGET: dict[str, Any] = {"min_sqnr": 20.0, "min_agreement": 0.97, "stress": "none"}
# Other samples than those that kilnx judged by are harder by chance; a wrong engine is far off.
ON_OTHERS: dict[str, Any] = {**BUDGET, "min_sqnr": 19.0, "min_agreement": 0.95}
QUICK: dict[str, Any] = {"effort": "low", "prefer": "size", "force": True}


def write(case: Path, target: str, form: str, output: Path) -> str:
    """Write the file of a cell; the reason where INT8 was not kept."""
    from converter.compression.targeted import fitted, open_target, refuse_wrong
    from quantizers import quantize
    from runtimes import Dataset, load_model
    from runtimes.onnx_files.load_save import model_inputs, save_model

    model = load_model(case / "model.onnx")
    samples = Dataset.open(case / "calibration.npz", inputs=model_inputs(model))
    data = samples.without_labels().take(2 * SAMPLES)
    if form == "INT8":
        report = quantize(model, output, data, target=target, **BUDGET, **QUICK)
        return "" if report.kept else report.reason
    place = open_target(target)
    found = fitted(model, place, int8=False)
    refuse_wrong(found, data, place, 1)
    save_model(found, output, force=True)
    return ""


def judge(case: Path, target: str, output: Path, cache: Path) -> dict[str, Any]:
    """The file of a cell in the engines of its target, next to the float model."""
    from runtimes import Dataset, check, load_model
    from runtimes.onnx_files.load_save import model_inputs
    from runtimes.targets import find_target

    inputs = model_inputs(load_model(case / "model.onnx"))
    data = Dataset.open(case / "test.npz", inputs=inputs).without_labels().take(SAMPLES)
    if target in MOBILE:
        with MOBILE[target](output, cache) as runtime:
            report = check(case / "model.onnx", runtime, data, **ON_OTHERS)
    else:
        found = find_target(target)
        places = (found.engine, *installed(found.also))
        report = check(case / "model.onnx", output, data, providers=places, **ON_OTHERS)
    return {
        "passed": report.passed,
        "reason": report.reason,
        "sqnr_db": min(
            (one.sqnr_db for one in report.outputs if one.sqnr_db is not None), default=None
        ),
        "agreement": min(
            (one.agreement for one in report.outputs if one.agreement is not None), default=None
        ),
    }


def installed(providers: Iterable[str]) -> list[str]:
    from runtimes.engines.providers import is_available

    return [one for one in providers if is_available(one)]


def cell(case: Path, target: str, form: str, output: Path, cache: Path) -> dict[str, Any]:
    """What became of one cell, in this process."""
    from runtimes.errors import KilnxError, RuntimeUnavailable

    try:
        kept_float = write(case, target, form, output)
        return {
            "state": "float" if kept_float else "",
            "why": kept_float,
            **judge(case, target, output, cache),
        }
    except RuntimeUnavailable as error:
        return {"state": "not installed", "why": str(error)}
    except KilnxError as error:
        return {"state": "refused", "why": str(error)}


def isolated(case: Path, target: str, form: str, options: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own."""
    output = case / f"{target}-{form}.onnx"
    command = [sys.executable, __file__, "--cell", str(case), target, form, str(output)]
    command += ["--cache", str(options.cache)]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=options.seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"state": "too slow", "why": f"more than {options.seconds:.0f} s"}
    lines = [line for line in found.stdout.splitlines() if line.startswith("{")]
    if found.returncode or not lines:
        return {"state": "CRASH", "why": found.stderr[-500:]}
    document: dict[str, Any] = json.loads(lines[-1])
    return document


def fill(matrix: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Make the cells that are asked for and not there yet; each is kept at once."""
    for name, make in cases(options.models).items():
        if options.only and name not in options.only:
            continue
        case = options.output / name.replace(" ", "_")
        for form in FORMS:
            row = matrix.setdefault(f"{name}, {form}", {})
            for target in options.target or target_names():
                if target in row:
                    continue
                if not (case / "model.onnx").exists():
                    case.mkdir(parents=True, exist_ok=True)
                    make((options.models or Path()) / name, case)
                begin = time.perf_counter()
                row[target] = isolated(case, target, form, options)
                told = f"{name}, {form}, {target}: {shown(row[target])}"
                took = time.perf_counter() - begin
                print(f"{told} ({took:.0f} s)", file=sys.stderr, flush=True)
                keep(matrix, options.output / "matrix.json")


def keep(matrix: dict[str, dict[str, Any]], path: Path) -> None:
    path.write_text(json.dumps(matrix, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--target", action="append", choices=target_names())
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "kilnx-peers")
    parser.add_argument("--cell", nargs=4, metavar=("CASE", "TARGET", "FORM", "FILE"))
    options = parser.parse_args()
    if options.cell:
        case, target, form, output = options.cell
        print(json.dumps(cell(Path(case), target, form, Path(output), options.cache)))
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    kept = options.output / "matrix.json"
    matrix: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    fill(matrix, options)
    (options.output / "matrix.md").write_text(table(matrix), encoding="utf-8")
    print(table(matrix))
    return 1 if any(is_wrong(one) for row in matrix.values() for one in row.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
