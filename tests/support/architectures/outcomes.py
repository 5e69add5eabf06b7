"""What comes of one network in each command, judged by plain ONNX Runtime.

``right``: something was done, and the result does the same job. ``left alone``: nothing was done,
for a reason. ``fault``: an error, a result that does not run, or one that does another job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import onnxruntime
from architectures.case import Array
from pruning_checks import random_selection, run_model
from zeroed_channels import zero_channels

from converter import compress, dedupe, prune
from converter.passes import optimize
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.removal import remove_channels
from quantizers import QuantizeOptions, quantize_model
from runtimes import Dataset
from runtimes.onnx_files.load_save import write_model

Status = Literal["right", "left alone", "fault"]

# What a candidate of random weights may lose at most: far less than what a wrong axis costs.
_LEAST_DB = 12.0
_LEAST_AGREEMENT = 0.85
_EXACT = 1e-3


@dataclass(frozen=True)
class Outcome:
    """What came of one command, and why."""

    status: Status
    detail: str


Command = Callable[[ir.Model, dict[str, Array], Path], Outcome]


def cut(model: ir.Model, data: dict[str, Array], folder: Path) -> Outcome:
    """Random channels removed: the same as with them at zero."""
    dependencies = find_dependencies(model)
    kept = random_selection(dependencies, 0)
    if kept.units.all():
        reasons = {g.closed_reason for g in dependencies.groups if g.closed_reason}
        return Outcome("left alone", "; ".join(sorted(reasons)) or "nothing has channels")
    smaller, zeroed = model.clone(), model.clone()
    remove_channels(smaller, dependencies, kept)
    zero_channels(zeroed, dependencies, kept)
    for count in (1, 3):
        feed = {name: array[:count] for name, array in data.items()}
        wanted, found = run_model(zeroed, feed), run_model(smaller, feed)
        for value, one, other in zip(model.graph.outputs, wanted, found, strict=True):
            if one.shape != other.shape:
                return Outcome("fault", f"{value.name}: {other.shape} instead of {one.shape}")
            if one.dtype.kind == "f" and not _near(one, other):
                return Outcome("fault", f"{value.name} is not what zeroed channels give")
    return Outcome("right", f"{int((~kept.units).sum())} units went")


def pruned(model: ir.Model, data: dict[str, Array], folder: Path) -> Outcome:
    """Half of the multiply-adds gone, whatever that costs: the shapes are judged."""
    report = prune(
        model, folder / "pruned.onnx", data, flops=0.5, min_agreement=0.0, min_sqnr=-1000.0
    )
    problem = _difference(model, folder / "pruned.onnx", data, exact=not report.kept, loose=True)
    if problem:
        return Outcome("fault", problem)
    return Outcome("right" if report.kept else "left alone", report.reason)


def quantized(model: ir.Model, data: dict[str, Array], folder: Path) -> Outcome:
    """All in INT8 that can be: whether that pays is another question."""
    options = QuantizeOptions(rounding="nearest")
    int8, report = quantize_model(model, Dataset.open(data), options=options)
    write_model(int8, folder / "int8.onnx")
    problem = _difference(model, folder / "int8.onnx", data, exact=not report.kept)
    if problem:
        return Outcome("fault", problem)
    return Outcome("right" if report.kept else "left alone", report.reason)


def deduplicated(model: ir.Model, data: dict[str, Array], folder: Path) -> Outcome:
    """Equal weights once."""
    report = dedupe(model, folder / "dedupe.onnx")
    problem = _difference(model, folder / "dedupe.onnx", data, exact=True)
    if problem:
        return Outcome("fault", problem)
    merged = getattr(report, "merged", ())
    return Outcome("right" if merged else "left alone", f"{len(merged)} weights merged")


def compressed(model: ir.Model, data: dict[str, Array], folder: Path) -> Outcome:
    """The main command."""
    report = compress(model, folder / "out", data, recover=False)
    defects = report.all_defects()
    if defects:
        return Outcome("fault", str(defects[0]))
    problem = _difference(model, folder / "out/model.onnx", data, exact=False)
    if problem:
        return Outcome("fault", problem)
    kept = [step.name for step in report.steps if step.kept]
    detail = "; ".join(f"{step.name}: {step.reason}" for step in report.steps)
    return Outcome("right" if kept else "left alone", detail)


COMMANDS: Mapping[str, Command] = {
    "cut": cut,
    "prune": pruned,
    "quantize": quantized,
    "dedupe": deduplicated,
    "compress": compressed,
}


def outcome(command: str, model: ir.Model, data: dict[str, Array], folder: Path) -> Outcome:
    """What comes of ``command``; any error is a fault: model and data are good."""
    try:
        return COMMANDS[command](model, data, folder)
    except Exception as error:
        return Outcome("fault", f"{type(error).__name__}: {error}")


def exported(model: Any) -> ir.Model:
    """A Keras model as the commands take it."""
    from converter.export.export import export

    return optimize(export(model))


def _difference(
    model: ir.Model, path: Path, data: dict[str, Array], *, exact: bool, loose: bool = False
) -> str:
    """What is wrong with the file, or nothing."""
    reference = path.with_name("reference.onnx")
    write_model(model, reference)
    for count in (1, 3, len(next(iter(data.values())))):
        feed = {name: array[:count] for name, array in data.items()}
        wanted, found = _run(reference, feed), _run(path, feed)
        if list(wanted) != list(found):
            return f"the outputs are {list(found)} instead of {list(wanted)}"
        for name, one in wanted.items():
            problem = _apart(one, found[name], exact=exact, loose=loose or count < 8)
            if problem:
                return f"{name} at batch {count}: {problem}"
    return ""


def _run(path: Path, feed: Mapping[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feed)), strict=True))


def _apart(one: Array, other: Array, *, exact: bool, loose: bool) -> str:
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{other.dtype}{other.shape} instead of {one.dtype}{one.shape}"
    if one.dtype.kind != "f":
        return "" if loose or (one == other).mean() > _LEAST_AGREEMENT else "other values"
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return "not finite elsewhere"
    if exact:
        return "" if _near(one, other) else "not the same values"
    return "" if loose else _too_far(one, other)


def _too_far(one: Array, other: Array) -> str:
    real = np.isfinite(one) & (np.abs(one) < 1e6)  # what a mask wrote says nothing of the rest
    signal = one[real].astype(np.float64)
    noise = np.square(signal - other[real]).sum()
    decibels = 10 * np.log10(np.square(signal).sum() / noise) if noise else np.inf
    agree = (one.argmax(-1) == other.argmax(-1)).mean() if one.ndim else 1.0
    if decibels < _LEAST_DB and (agree < _LEAST_AGREEMENT or one.shape[-1] < 2):
        return f"{decibels:.1f} dB, agreement {agree:.2f}"
    return ""


def _near(one: Array, other: Array) -> bool:
    scale = float(np.abs(one).max(where=np.isfinite(one), initial=1e-6))
    return bool(np.allclose(one, other, rtol=0, atol=_EXACT * scale, equal_nan=True))
