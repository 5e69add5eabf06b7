"""``recover``: train a compressed file to answer like the model that it was made from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from converter.compression.graph_of import graph_of
from converter.compression.samples import open_judged
from converter.compression.stressed_reference import stressed_reference
from converter.compression.training_data import classes_of, rungs_like
from quantizers.training.distill import distill
from quantizers.training.options import DistillOptions
from runtimes.atomic_files import refuse_existing
from runtimes.defects import callers_own
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_inputs,
    refuse_nan_weights,
    save_model,
)
from runtimes.options import RunOptions, flat_options
from runtimes.parity.budget import Budget
from runtimes.parity.check import check
from runtimes.parity.report import ParityReport
from runtimes.parity.stressed import Stressed
from runtimes.readable import ReadableReport


@dataclass(frozen=True)
class RecoverOptions:
    """How ``recover`` trains.

    Attributes:
        training_steps: Batches of 64 that are learned from.
        force: Whether an existing output is replaced.
        keep_best: Whether Ctrl-C ends the training, and what was best until then is judged and
            written; else it ends the program, and nothing is written.
    """

    training_steps: int = 1000
    force: bool = False
    keep_best: bool = False


@dataclass(frozen=True)
class RecoveryReport(ReadableReport):
    """The outcome of training.

    ``kept``: whether the file holds what was trained; else it holds the model as it was. ``before``
    and ``after`` are reports of ``runtimes.check`` against the teacher, as dictionaries;
    ``passed``: whether what was written is inside the budget. ``error_before`` and
    ``error_after``: squared error of the outputs on samples that were held out of training,
    relative to their variance.
    """

    kept: bool
    passed: bool
    reason: str
    steps: int
    error_before: float
    error_after: float
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def headline(self) -> str:
        """The outcome in one line."""
        return f"{'trained' if self.kept else 'as it was'}: {self.reason}"

    def rows(self) -> Sequence[dict[str, str]]:
        """Before and after."""
        return [
            {"": "before", "error": f"{self.error_before:.3g}", "verdict": _verdict(self.before)},
            {"": "after", "error": f"{self.error_after:.3g}", "verdict": _verdict(self.after)},
        ]


@flat_options(budget=Budget, options=RecoverOptions, run=RunOptions)
def recover(
    model: ModelSource,
    output: str | os.PathLike[str] | None,
    data: Any,
    *,
    teacher: Any,
    evaluate_on: Any = None,
    budget: Budget = Budget(),
    options: RecoverOptions = RecoverOptions(),
    run: RunOptions = RunOptions(),
) -> RecoveryReport:
    """Train an ONNX model to answer like ``teacher``, and write it to ``output``.

    No labels are needed: the teacher answers for the samples of ``data``, and for thousands that
    are mixed from them or perturbed (https://arxiv.org/abs/1503.02531,
    https://arxiv.org/abs/1710.09412). The graph keeps its nodes and names; only weights change.
    INT8 models learn through their rounding. The better of before and after is written. The
    fields of all three dataclasses are taken as keywords, too.

    Args:
        model: An ONNX file or an ``onnx_ir.Model``: pruned, quantized or damaged otherwise.
        output: The file to write; None writes nothing.
        data: What ``Dataset.open`` takes; trains. At least 64 samples.
        teacher: The model that it was made from: an ONNX file, an ``onnx_ir.Model``, or a Keras
            model or file (one that needs custom objects is converted first).
        evaluate_on: What judges. Without it, ``data`` is split.
        budget: What loss is acceptable against the teacher.
        options: How long to train.
        run: Threads, seed and progress.

    Returns:
        What training changed, and whether the result is inside the budget.

    Raises:
        ModelError: A file cannot be read, or the teacher has other inputs or outputs.
        DataError: The data do not fit or are too few, or ``output`` exists.
        UnsupportedOperator: An operator cannot be trained through.
        RuntimeUnavailable: TensorFlow is not installed.

    Example:
        >>> more = {"evaluate_on": "samples.npz", "training_steps": 5}
        >>> recover("model.onnx", None, "samples.npz", teacher="model.onnx", **more).kept
        False
    """
    inputs = (model, teacher, data, evaluate_on)
    if output is not None:
        refuse_existing(output, force=options.force, inputs=inputs)
    if options.training_steps < 1:
        raise DataError(f"training takes at least one step, not {options.training_steps}")
    run = replace(run, progress=callers_own(run.progress))
    student = load_model(model)
    refuse_nan_weights(student, "the model" if isinstance(model, ir.Model) else str(model))
    reference = graph_of(teacher)
    _refuse_other_inputs(student, reference)
    samples, budget, _ = open_judged(reference, data, evaluate_on, budget, run.seed)
    stressed = stressed_reference(reference, samples.evaluation, budget, run)
    run.tell("judging the model as it is")
    before = _judge(student, stressed)
    found = distill(
        student,
        reference,
        samples.calibration,
        rungs=rungs_like(stressed.rungs, reference, samples.calibration, run.seed),
        options=DistillOptions(
            steps=options.training_steps,
            classes=classes_of(budget.metric, reference, samples.evaluation),
            seed=run.seed,
            threads=run.threads,
            keep_best=options.keep_best,
        ),
        progress=run.tell,
    )
    run.tell("judging the trained model")
    after = _judge(found.model, stressed)
    kept = bool(found.steps) and not (before.passed and not after.passed)
    report = RecoveryReport(
        kept,
        after.passed if kept else before.passed,
        _reason(kept, found.steps, found.reason, before, after),
        found.steps,
        found.before,
        found.after,
        before.to_dict(),
        after.to_dict(),
        samples.notes,
    )
    if output is not None:
        result = found.model if kept else student
        save_model(result, output, force=options.force, inputs=inputs)
    return report


def _refuse_other_inputs(student: ir.Model, teacher: ir.Model) -> None:
    theirs, ours = ({spec.name for spec in model_inputs(one)} for one in (teacher, student))
    if theirs != ours:
        raise ModelError(
            f"the teacher's inputs are {', '.join(sorted(theirs))} and the model's are "
            f"{', '.join(sorted(ours))}: give the model that this one was made from"
        )


def _judge(model: ir.Model, stressed: Stressed) -> ParityReport:
    return check(
        stressed.reference,
        model,
        stressed.data,
        budget=stressed.budget,
        stressed=stressed,
        threads=stressed.threads,
    )


def _reason(
    kept: bool,
    steps: int,
    why: str,
    before: ParityReport,
    after: ParityReport,
) -> str:
    if why and not steps:
        return why
    if not steps:
        return "training made it no better"
    if not kept:
        return f"training left the budget: {after.reason}; before, {before.reason}"
    return f"{after.reason}; before, {before.reason}" + (f"; {why}" if why else "")


def _verdict(parity: Mapping[str, Any]) -> str:
    return "inside the budget" if parity.get("passed") else "outside"
