"""The steps of ``compress``: each makes a candidate of the best model so far, or says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from converter.passes.dedupe import deduplicate
from quantizers import QuantizeOptions, quantize_model
from runtimes.dataset import Dataset


@dataclass(frozen=True)
class StepContext:
    """What a step may use: data that evaluation never sees, threads, a seed.

    ``min_agreement`` and ``min_sqnr_db``: floors that a candidate should reach on the calibration
    data. ``precisions``: INT8 or float by operator, as decided before, in place of timing.
    """

    calibration: Dataset
    threads: int
    seed: int
    progress: Callable[[str], None]
    min_agreement: float = 0.99
    min_sqnr_db: float = 20.0
    precisions: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Outcome:
    """A candidate, or ``None`` with the reason why there is none; ``details`` for the report."""

    model: ir.Model | None
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


Step = Callable[[ir.Model, StepContext], Outcome]


def _dedupe(model: ir.Model, context: StepContext) -> Outcome:
    candidate = model.clone()
    found = deduplicate(candidate)
    if not found.merged:
        return Outcome(None, "no two weights are equal")
    copies = sum(len(merge.replaced) for merge in found.merged)
    return Outcome(candidate, f"{copies} weights were copies of others", found.to_dict())


def _quantize(model: ir.Model, context: StepContext) -> Outcome:
    options = QuantizeOptions(
        threads=context.threads,
        measure=True,
        min_agreement=context.min_agreement,
        min_sqnr=context.min_sqnr_db,
        precisions=context.precisions,
    )
    candidate, found = quantize_model(model, context.calibration, options=options)
    int8 = sum(1 for operator in found.operators if operator.precision != "float32")
    if not int8:
        return Outcome(None, "no operator can run in INT8", found.to_dict())
    details = {**found.to_dict(), "dedupe": deduplicate(candidate).to_dict()}
    return Outcome(candidate, f"{int8} of {len(found.operators)} operators in INT8", details)


STEPS: dict[str, Step] = {"dedupe": _dedupe, "quantize": _quantize}
"""In the order in which they run."""
