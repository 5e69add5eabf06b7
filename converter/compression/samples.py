"""Samples that calibrate and samples that judge: never the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import onnx_ir as ir

from runtimes.base import Array, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.data.sample_digests import SampleDigests, digests_of
from runtimes.defects import Defect, contain
from runtimes.engines.batching import refuse_other_axes
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError
from runtimes.keras_models.loss_meaning import Loss
from runtimes.onnx_files.load_save import model_inputs, model_outputs
from runtimes.parity.budget import Budget
from runtimes.parity.choose_metric import Judged, refuse_other_classes
from runtimes.parity.judged_by import first_values, looked_up, notes_of_choice
from runtimes.parity.plausibility import JudgedLabels, judged_labels
from runtimes.parity.stressed import CLEAN_ONLY

# Share of one data set that calibrates: half, so that the other half judges as well as it can.
_CALIBRATION_SHARE = 0.5


@dataclass(frozen=True)
class Samples:
    """What calibrates, what judges, and what the user should know of both."""

    calibration: Dataset
    evaluation: Dataset
    notes: tuple[str, ...]


def open_samples(data: Any, evaluate_on: Any, inputs: Sequence[TensorSpec], seed: int) -> Samples:
    """Open ``data`` and ``evaluate_on``, or split ``data`` where there is nothing else to judge on.

    Both are what ``Dataset.open`` takes; ``inputs`` are the model's. The split is drawn with
    ``seed``. Raises ``DataError`` for data that do not fit.
    """
    calibration = Dataset.open(data, inputs=inputs)
    if evaluate_on is not None:
        evaluation = Dataset.open(evaluate_on, inputs=inputs)
        note = (
            f"calibrated on {calibration.num_samples or 'the'} samples of {calibration.name}, "
            f"evaluated on {evaluation.num_samples or 'those'} of {evaluation.name}"
        )
        return Samples(calibration, evaluation, (note, *calibration.notes, *evaluation.notes))
    first, second = calibration.split(_CALIBRATION_SHARE, seed)
    note = (
        f"{calibration.name} was split: {first.num_samples} samples calibrate, "
        f"{second.num_samples} others evaluate (seed {seed}); give --eval for data of its own"
    )
    return Samples(first, second, (note, *calibration.notes))


def open_judged(  # noqa: PLR0917
    model: ir.Model,
    data: Any,
    evaluate_on: Any,
    budget: Budget,
    seed: int,
    losses: Mapping[str, Loss] = MappingProxyType({}),
) -> tuple[Samples, Budget, JudgedLabels]:
    """``open_samples`` for ``model``, and what ``resolve_budget`` makes of those that judge.

    ``losses``: what it was trained with, by output. Raises ``ModelError`` where samples are not on
    the first axis.
    """
    inputs, outputs = model_inputs(model), model_outputs(model)
    refuse_other_axes(inputs, outputs, "the model")
    samples = open_samples(data, evaluate_on, inputs, seed)
    asked = budget
    budget, labels = resolve_budget(model, samples.evaluation, budget, losses)
    if asked.metric is None:
        chosen = notes_of_choice(budget.metric, samples.evaluation)
        samples = replace(samples, notes=(*samples.notes, *chosen))
    if budget.stress == "none":
        samples = replace(samples, notes=(*samples.notes, CLEAN_ONLY))
    return samples, budget, labels


def listed_calibration(samples: Samples, failed: list[Defect]) -> SampleDigests | None:
    """Which samples calibrated, so that a reference is made of others.

    None where they cannot be listed, with the defect in ``failed``.
    """
    found = contain("digests of samples", lambda: digests_of(samples.calibration))
    if isinstance(found, Defect):
        failed.append(found)
        return None
    return found


def resolve_budget(
    model: ir.Model,
    evaluation: Dataset | None,
    budget: Budget,
    losses: Mapping[str, Loss] = MappingProxyType({}),
) -> tuple[Budget, JudgedLabels]:
    """The budget as it is meant for these data, and the labels that it judges by.

    Raises ``DataError`` where no metric follows from the labels, and where they name no class: a
    budget in them would judge nothing.
    """
    outputs = model_outputs(model)
    judged = None
    if evaluation is not None:
        refuse_other_classes(outputs, evaluation)
        judged = Judged(outputs, evaluation, _look(model, evaluation), losses)
    budget = budget.resolve(judged)
    labels = judged_labels(outputs, evaluation, budget.metric)
    if evaluation is not None:
        for doubt in labels.doubts():
            raise DataError(f"{evaluation.name}: {doubt}")
    return budget, labels


def _look(model: ir.Model, samples: Dataset) -> Callable[[str], Array]:
    """Runs the model where the labels alone do not say what an output is."""

    def values() -> Mapping[str, Array]:
        with OrtRuntime(model) as runtime:
            return first_values(runtime, samples)

    return looked_up(values)
