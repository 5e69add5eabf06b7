"""INT8 that is outside the budget is trained through its rounding before less is quantized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import onnx_ir as ir
import pytest

from converter.compression.decisions import Decisions
from converter.compression.steps import STEPS, Outcome, StepContext
from quantizers.training.distill import Distilled, TrainingStopped
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.errors import UnsupportedOperator
from runtimes.options import RunOptions
from runtimes.parity.budget import Budget


@dataclass
class Trainer:
    """Says of every model that training made it better, or fails."""

    error: Exception | None = None
    asked: bool = True
    steps: list[int] = field(default_factory=list)

    def through_rounding(self, quantized: ir.Model, steps: int) -> Distilled:
        self.steps.append(steps)
        if self.error is not None:
            raise self.error
        return Distilled(quantized.clone(), 0.5, 0.1, steps - 1)


@pytest.fixture
def context(
    residual_model: ir.Model, bound: Callable[..., Dataset], images: Array
) -> Callable[..., Any]:
    data = bound(residual_model, image=images)

    def with_training(trainer: Trainer | None, **more: Any) -> StepContext:
        made: Any = StepContext(data, RunOptions(), Budget(), (0.5, 0.0), effort="low", **more)
        return replace(made, training=trainer)

    return with_training


def quantized(model: ir.Model, context: StepContext) -> Outcome:
    return STEPS["quantize"](model, context)


def less(outcome: Outcome) -> Outcome:
    assert outcome.less_aggressive is not None
    return outcome.less_aggressive()


def test_what_was_quantized_is_trained_first(
    residual_model: ir.Model, context: Callable[..., StepContext]
) -> None:
    trainer = Trainer()
    first = quantized(residual_model, context(trainer))
    assert not trainer.steps  # it may be inside the budget as it is
    trained = less(first)
    assert trained.reason == f"{first.reason}, trained in {trainer.steps[0] - 1} steps"
    assert trained.details["training"]["before"] == 0.5
    assert trained.details["operators"] == first.details["operators"]
    assert "training" not in less(trained).details
    assert len(trainer.steps) == 1


@pytest.mark.parametrize("error", [UnsupportedOperator("Loop 'l'"), TrainingStopped()])
def test_where_nothing_can_be_trained_less_is_quantized(
    residual_model: ir.Model, context: Callable[..., StepContext], error: Exception
) -> None:
    found = less(quantized(residual_model, context(Trainer(error))))
    assert found.model is not None
    assert "trained" not in found.reason


def test_what_was_trained_is_trained_again(
    residual_model: ir.Model, context: Callable[..., StepContext]
) -> None:
    trainer = Trainer()
    report = less(quantized(residual_model, context(trainer))).details
    step = {"name": "quantize", "kept": True, "details": report}
    decisions = Decisions.open({"steps": [step]})
    assert decisions.trains
    found = quantized(residual_model, context(trainer, decisions=decisions))
    assert "trained in" in found.reason
    assert trainer.steps[0] == trainer.steps[1]


@pytest.mark.parametrize("trainer", [None, Trainer(asked=False)])
def test_without_training_less_is_quantized(
    residual_model: ir.Model, context: Callable[..., StepContext], trainer: Trainer | None
) -> None:
    assert "trained" not in less(quantized(residual_model, context(trainer))).reason
