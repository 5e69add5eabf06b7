"""``compress``: run the steps, measure each, keep it or roll it back with a reason."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from converter.compression.attempts import Candidate, run_steps
from converter.compression.decisions import Decisions, DecisionSource
from converter.compression.judge import Judge
from converter.compression.samples import open_judged
from converter.compression.steps import STEPS, StepContext
from converter.passes import optimize
from converter.report.analysis import analyze
from converter.report.html import to_html
from converter.report.report import REPORT_NAME, Report, files_not_reported
from runtimes.atomic_files import atomic_folder, file_digests
from runtimes.engines.open_runtime import is_keras
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import (
    load_model,
    model_outputs,
    refuse_nan_weights,
    write_model,
)
from runtimes.options import KerasOptions, RunOptions, flat_options
from runtimes.parity.budget import Budget, search_floors


@dataclass(frozen=True)
class CompressOptions:
    """What ``compress`` does, beside what loss is acceptable.

    Attributes:
        steps: The steps that are tried, in their own order: ``dedupe``, ``prune``, ``quantize``.
        provider: Execution provider to measure on.
        decisions: An earlier ``report.json`` whose decisions are replayed.
        force: Whether what kilnx wrote to ``output`` before is replaced.
    """

    steps: Sequence[str] = tuple(STEPS)
    provider: str = "cpu"
    decisions: DecisionSource | None = None
    force: bool = False


@flat_options(
    {"min_sqnr_db": "min_sqnr"},
    budget=Budget,
    options=CompressOptions,
    keras=KerasOptions,
    run=RunOptions,
)
def compress(
    model: Any,
    output: str | os.PathLike[str],
    data: Any,
    *,
    evaluate_on: Any = None,
    budget: Budget = Budget(),
    options: CompressOptions = CompressOptions(),
    keras: KerasOptions = KerasOptions(),
    run: RunOptions = RunOptions(),
) -> Report:
    """Make ``model`` smaller and faster inside one budget, and write what was found.

    A step is kept only if the model stays inside the budget and gets faster, or smaller without
    getting slower, measured on data that it was not made from. The fields of all four dataclasses
    are taken as keywords, too.

    Args:
        model: An ONNX file or ``onnx_ir.Model``, a live Keras model, or what ``convert`` takes.
        output: The folder to write: ``model.onnx``, ``fp32.onnx``, ``report.json`` and
            ``report.html``, all or nothing.
        data: What ``Dataset.open`` takes; calibrates.
        evaluate_on: The same; judges. Without it, ``data`` is split, so that evaluation never
            sees a sample of calibration.
        budget: What loss is acceptable. Without a ``metric``, the labels choose one; without
            labels, floors of agreement and SQNR stand for it.
        options: Which steps, where to measure, decisions to replay, whether to replace.
        keras: How a Keras file is read.
        run: Threads, seed and progress.

    Returns:
        What was measured of each step, and why it was kept or not.

    Raises:
        DataError: The data do not fit, ``output`` exists, or a step does not.
        ModelError: The file cannot be read, or holds NaN.
        UnsupportedOperator: An operator of the Keras model cannot be exported.
        BudgetError: The decisions keep a step that is outside the budget here.

    Example:
        >>> report = compress("model.onnx", "out", "samples.npz", steps=["dedupe"])
        >>> [(step.name, step.kept, step.reason) for step in report.steps]
        [('dedupe', False, 'no two weights are equal')]
    """
    unknown = sorted(set(options.steps) - set(STEPS))
    if unknown:
        raise DataError(f"there is no step {unknown[0]!r}; the steps are {', '.join(STEPS)}")
    source = options.decisions
    decisions = None if source is None else Decisions.open(source)
    place: dict[str, Any] = {
        "force": options.force,
        "inputs": (model, data, evaluate_on, keras.weights, source),
        "foreign": files_not_reported,
    }
    with atomic_folder(output, **place) as folder:
        run.tell("exporting")
        reference = folder / "fp32.onnx"
        fp32 = _reference(model, reference, keras)
        called = str(getattr(model, "name", None) or model)
        refuse_nan_weights(fp32, called)
        samples, budget, labels = open_judged(fp32, data, evaluate_on, budget, run.seed)
        judge = Judge(reference, samples.evaluation, budget, options.provider, run)
        run.tell("measuring fp32")
        try:
            baseline = judge.baseline()
        except ModelError as error:  # of the file that the user knows
            raise ModelError(str(error).replace(str(reference), called)) from error
        doubted = labels.doubts(baseline.metric)
        del labels  # of a segmentation they are as large as the samples
        for doubt in doubted:
            run.tell(f"note: {doubt}")
        context = StepContext(
            samples.calibration,
            run,
            budget,
            search_floors(model_outputs(fp32), samples.evaluation, budget),
            quantizes="quantize" in options.steps,
            decisions=decisions or Decisions(),
        )
        wanted = {name: step for name, step in STEPS.items() if name in options.steps}
        first = Candidate(fp32, reference, baseline)
        best, reports = run_steps(
            wanted, context, first, judge, None if decisions is None else decisions.kept
        )
        run.tell("looking into the result")
        insight = analyze(
            reference,
            best.path,
            samples.evaluation,
            pruned=best.pruned,
            provider=options.provider,
            threads=run.threads,
        )
        _ship(best.path, folder)
        report = Report(
            source=getattr(model, "name", None) or str(model),
            metric_name=budget.metric,
            max_drop=budget.drop,
            min_agreement=budget.agreement,
            min_sqnr_db=budget.sqnr_db,
            threads=run.threads,
            baseline=baseline,
            steps=reports,
            result=best.measured,
            notes=(*doubted, *samples.notes),
            insight=insight,
        )
        (folder / "report.html").write_text(to_html(report), encoding="utf-8")
        report = replace(report, files=file_digests(folder))
        (folder / REPORT_NAME).write_text(report.to_json(), encoding="utf-8")
    return report


def _reference(model: Any, path: Path, keras: KerasOptions) -> ir.Model:
    """The fp32 graph, exported and proven or read and cleaned, and its file."""
    if isinstance(model, ir.Model) or not is_keras(model):
        graph = optimize(load_model(model).clone())
        write_model(graph, path)
        return graph
    from converter.export.convert import export_to
    from converter.export.sources import load_source

    live, keras_signature = load_source(model, **keras.to_dict())
    graph, _ = export_to(path, live, keras_signature)
    return graph


def _ship(path: Path, folder: Path) -> None:
    """Give the best model its name, under which no other trace of the steps remains."""
    shipped = folder / "model.onnx"
    write_model(load_model(path), shipped)
    for leftover in folder.glob("*.onnx.tmp*"):
        leftover.unlink()
