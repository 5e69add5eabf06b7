"""Which runtime runs which model? Every case for every target, in float and in INT8.

    python benchmarks/runtime_matrix.py --output FOLDER [--models FOLDER] [--only CASE]...
        [--target NAME]... [--json matrix.json]

A cell is made with ``--target`` and then run once more in the engine of the target, on the test
samples, next to the float model in ONNX Runtime: SQNR and agreement, or why kilnx refused. Each has
a process of its own, because engines abort and hang. ``WRONG`` is what must not be: a file that
kilnx wrote and that its engine is outside the budget on. The cases are those of ``quantize.py``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quantize_cases import cases

from runtimes.targets import target_names

FORMS = ("float", "INT8")
SAMPLES = 64  # the reference evaluator is slow
BUDGET: dict[str, Any] = {"min_sqnr": 20.0, "min_agreement": 0.97, "stress": "none"}
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


def judge(case: Path, target: str, output: Path) -> dict[str, Any]:
    """The file of a cell in the engines of its target, next to the float model."""
    from runtimes import Dataset, check, load_model
    from runtimes.onnx_files.load_save import model_inputs
    from runtimes.targets import find_target

    inputs = model_inputs(load_model(case / "model.onnx"))
    data = Dataset.open(case / "test.npz", inputs=inputs).without_labels().take(SAMPLES)
    report = check(
        case / "model.onnx",
        output,
        data,
        providers=(find_target(target).engine, *installed(find_target(target).also)),
        **BUDGET,
    )
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


def cell(case: Path, target: str, form: str, output: Path) -> dict[str, Any]:
    """What became of one cell, in this process."""
    from runtimes.errors import KilnxError, RuntimeUnavailable

    try:
        kept_float = write(case, target, form, output)
        return {
            "state": "float" if kept_float else "",
            "why": kept_float,
            **judge(case, target, output),
        }
    except RuntimeUnavailable as error:
        return {"state": "not installed", "why": str(error)}
    except KilnxError as error:
        return {"state": "refused", "why": str(error)}


def isolated(case: Path, target: str, form: str, seconds: float) -> dict[str, Any]:
    """The same in a process of its own."""
    output = case / f"{target}-{form}.onnx"
    command = [sys.executable, __file__, "--cell", str(case), target, form, str(output)]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"state": "too slow", "why": f"more than {seconds:.0f} s"}
    lines = [line for line in found.stdout.splitlines() if line.startswith("{")]
    if found.returncode or not lines:
        return {"state": "CRASH", "why": found.stderr[-500:]}
    document: dict[str, Any] = json.loads(lines[-1])
    return document


def shown(found: dict[str, Any]) -> str:
    """A cell of the table."""
    if "passed" not in found:
        return str(found["state"])
    decibels = found["sqnr_db"]
    text = "" if decibels is None else f"{decibels:.0f} dB"
    if not found["passed"]:
        return f"WRONG {text}"
    return f"{text} (float)" if found["state"] == "float" else text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--target", action="append", choices=target_names())
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cell", nargs=4, metavar=("CASE", "TARGET", "FORM", "FILE"))
    options = parser.parse_args()
    if options.cell:
        case, target, form, output = options.cell
        print(json.dumps(cell(Path(case), target, form, Path(output))))
        return 0
    matrix: dict[str, Any] = {}
    targets = options.target or target_names()
    for name, make in cases(options.models).items():
        if options.only and name not in options.only:
            continue
        case = options.output / name.replace(" ", "_")
        if not (case / "model.onnx").exists():
            case.mkdir(parents=True, exist_ok=True)
            make((options.models or Path()) / name, case)
        for form in FORMS:
            found = {target: isolated(case, target, form, options.seconds) for target in targets}
            matrix[f"{name}, {form}"] = found
            print(
                f"{name}, {form}: " + " | ".join(f"{t} {shown(c)}" for t, c in found.items()),
                flush=True,
            )
            for target, one in found.items():
                if one.get("why"):
                    print(f"    {target}: {one['why'][:200]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(matrix, indent=2) + "\n", encoding="utf-8")
    wrong = [one for row in matrix.values() for one in row.values() if one.get("passed") is False]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
