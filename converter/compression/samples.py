"""Samples that calibrate and samples that judge: never the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.parity.budget import Budget
from runtimes.parity.plausibility import doubts

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


def refuse_labels_that_are_none(
    outputs: Sequence[TensorSpec], evaluation: Dataset | None, budget: Budget
) -> None:
    """Raise ``DataError`` where the labels name no class: a budget in them would judge nothing."""
    if evaluation is not None and budget.metric is not None:
        for doubt in doubts(outputs, evaluation, budget.metric):
            raise DataError(f"{evaluation.name}: {doubt}")


def doubts_of_baseline(
    outputs: Sequence[TensorSpec], evaluation: Dataset, budget: Budget, value: float | None
) -> tuple[str, ...]:
    """What speaks against data on which a model reaches no more than a constant answer."""
    if budget.metric is None or value is None:
        return ()
    return doubts(outputs, evaluation, budget.metric, value)
