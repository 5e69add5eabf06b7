"""``compress``: run the steps, measure each, keep it or roll it back with a reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from converter.compression.attempts import Candidate, run_steps
from converter.compression.decisions import load_precisions
from converter.compression.judge import Judge
from converter.compression.steps import STEPS, StepContext
from converter.passes import optimize
from converter.report.analysis import analyze
from converter.report.html import to_html
from converter.report.report import Report, load_decisions, load_details
from runtimes.atomic_files import atomic_folder, refuse_existing
from runtimes.data.dataset import Dataset
from runtimes.engines.open_runtime import is_keras
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import (
    load_model,
    model_inputs,
    model_outputs,
    refuse_nan_weights,
    write_model,
)
from runtimes.parity.budget import Budget, default_metric, search_floors

# Calibration sees this many samples at most when one data set is split in two.
_CALIBRATION_SHARE = 0.5

Progress = Callable[[str], None]


def compress(
    model: Any,
    output: str | os.PathLike[str],
    data: Any,
    *,
    evaluate_on: Any = None,
    metric: str | None = None,
    max_drop: float = 0.01,
    min_agreement: float = 0.99,
    min_sqnr_db: float = 20.0,
    strict: bool = False,
    provider: str = "cpu",
    steps: Sequence[str] = tuple(STEPS),
    threads: int = 1,
    signature: Any = None,
    custom_objects: dict[str, Any] | None = None,
    unsafe: bool = False,
    signature_key: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    decisions: str | os.PathLike[str] | Mapping[str, bool] | None = None,
    force: bool = False,
    seed: int = 0,
    progress: Progress = lambda text: None,
) -> Report:
    """Make ``model`` smaller and faster inside one budget, and write what was found.

    ``model``: an ONNX file, or what ``convert`` takes, with its options. ``data`` and
    ``evaluate_on`` are what ``Dataset.open`` takes; without ``evaluate_on``, ``data`` is split
    so that evaluation never sees a sample of calibration. The budget is ``max_drop`` of the
    labelled ``metric`` (chosen by the labels where it is ``None``); without labels it is a floor
    of top-1 agreement (0…1) and of SQNR in dB. ``strict`` demands that the whole 95% interval of
    the drop is inside: a step that the samples cannot clear is rolled back. A step is kept only
    if the model stays inside the budget and gets smaller or faster without getting slower,
    measured on ``provider`` with ``threads``. ``decisions`` replays those of an earlier
    ``report.json`` instead of deciding.

    Writes ``model.onnx``, ``fp32.onnx``, ``report.json`` and ``report.html`` into the folder
    ``output``, all or nothing. Raises a ``KilnxError`` for input that cannot be used.
    """
    unknown = sorted(set(steps) - set(STEPS))
    if unknown:
        raise DataError(f"there is no step {unknown[0]!r}; the steps are {', '.join(STEPS)}")
    replay = _decisions(decisions)
    refuse_existing(output, force=force)
    with atomic_folder(output, force=force) as folder:
        progress("exporting")
        options = {
            "signature": signature,
            "custom_objects": custom_objects,
            "unsafe": unsafe,
            "signature_key": signature_key,
            "weights": weights,
        }
        fp32 = _reference(model, folder / "fp32.onnx", options)
        refuse_nan_weights(fp32, str(getattr(model, "name", None) or model))
        calibration, evaluation, notes = _data(fp32, data, evaluate_on, seed)
        budget = Budget(
            metric or default_metric(model_outputs(fp32), evaluation),
            max_drop,
            min_agreement,
            min_sqnr_db,
            strict,
        )
        judge = Judge(folder / "fp32.onnx", evaluation, budget, provider, threads, seed)
        agreement, sqnr = search_floors(
            model_outputs(fp32),
            evaluation,
            budget.metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr_db,
        )
        progress("measuring fp32")
        baseline = judge.baseline()
        context = StepContext(
            calibration,
            threads,
            seed,
            progress,
            budget,
            quantizes="quantize" in steps,
            min_agreement=agreement,
            min_sqnr_db=sqnr,
            precisions=_precisions(decisions),
            recorded=_recorded(decisions),
        )
        wanted = {name: step for name, step in STEPS.items() if name in steps}
        first = Candidate(fp32, folder / "fp32.onnx", baseline)
        best, reports = run_steps(wanted, context, first, judge, replay)
        progress("looking into the result")
        insight = analyze(
            folder / "fp32.onnx",
            best.path,
            evaluation,
            pruned=best.pruned,
            provider=provider,
            threads=threads,
        )
        _ship(best.path, folder)
        report = Report(
            source=getattr(model, "name", None) or str(model),
            metric_name=budget.metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr_db=min_sqnr_db,
            threads=threads,
            baseline=baseline,
            steps=reports,
            result=best.measured,
            notes=notes,
            insight=insight,
        )
        (folder / "report.json").write_text(report.to_json(), encoding="utf-8")
        (folder / "report.html").write_text(to_html(report), encoding="utf-8")
    return report


def _reference(model: Any, path: Path, options: dict[str, Any]) -> ir.Model:
    """The fp32 graph, exported and proven or read and cleaned, and its file."""
    if isinstance(model, ir.Model) or not is_keras(model):
        graph = optimize(load_model(model).clone())
        write_model(graph, path)
        return graph
    from converter.export.convert import export_to
    from converter.export.sources import load_source

    live, keras_signature = load_source(model, **options)
    graph, _ = export_to(path, live, keras_signature)
    return graph


def _data(
    fp32: ir.Model, data: Any, evaluate_on: Any, seed: int
) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    specs = model_inputs(fp32)
    calibration = Dataset.open(data, inputs=specs)
    if evaluate_on is not None:
        evaluation = Dataset.open(evaluate_on, inputs=specs)
        notes = [
            f"calibrated on {calibration.num_samples or 'the'} samples of {calibration.name}, "
            f"evaluated on {evaluation.num_samples or 'those'} of {evaluation.name}"
        ]
        return calibration, evaluation, (*notes, *calibration.notes, *evaluation.notes)
    first, second = calibration.split(_CALIBRATION_SHARE, seed)
    note = (
        f"{calibration.name} was split: {first.num_samples} samples calibrate, "
        f"{second.num_samples} others evaluate (seed {seed}); give --eval for data of its own"
    )
    return first, second, (note, *calibration.notes)


def _decisions(source: Any) -> Mapping[str, bool] | None:
    if source is None or isinstance(source, Mapping):
        return source
    return load_decisions(source)


def _precisions(source: Any) -> Mapping[str, str] | None:
    """Operator precisions out of a report; a mapping of steps to decisions has none."""
    if source is None or isinstance(source, Mapping):
        return None
    return load_precisions(source) or None


def _recorded(source: Any) -> Mapping[str, Mapping[str, Any]]:
    """Details of each step out of a report, so that no step decides by timing again."""
    if source is None or isinstance(source, Mapping):
        return {}
    return load_details(source)


def _ship(path: Path, folder: Path) -> None:
    """Give the best model its name, under which no other trace of the steps remains."""
    shipped = folder / "model.onnx"
    write_model(load_model(path), shipped)
    for leftover in folder.glob("*.onnx.tmp*"):
        leftover.unlink()
