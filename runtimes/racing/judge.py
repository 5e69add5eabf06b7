"""Is a file in an engine still the same model? Parity, for any engine in any process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtimes.base import Feed, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import sampled_inputs
from runtimes.engines.batching import fixed_batch, refuse_other_axes
from runtimes.engines.open_runtime import is_keras
from runtimes.engines.runtime import Runtime
from runtimes.errors import KilnxError, ModelError
from runtimes.onnx_files.load_save import load_model, model_inputs, model_outputs
from runtimes.options import RunOptions
from runtimes.parity.budget import Budget
from runtimes.parity.check import check
from runtimes.parity.choose_metric import refuse_other_classes
from runtimes.parity.judged_by import judged_by
from runtimes.parity.match_tensors import pair_specs
from runtimes.parity.report import ParityReport
from runtimes.racing.entry import Entry
from runtimes.racing.places import Racer


@dataclass(frozen=True)
class Field:
    """What every entry is held against: the reference, the samples and the budget."""

    reference: Runtime
    samples: Dataset
    budget: Budget
    run: RunOptions

    @classmethod
    def of(cls, reference: Runtime, data: object, budget: Budget, run: RunOptions) -> Field:
        """The budget as these data mean it, with every floor stated.

        All entries are judged alike, so that the rule of rounding noise, which is for a float file
        in the same engine, applies to none; and on clean samples, because the question is one of
        engines and not of models. Raises ``DataError`` where no metric follows from the labels.
        """
        refuse_other_axes(reference.inputs, reference.outputs, reference.name)
        samples = Dataset.open(data, inputs=reference.inputs)
        refuse_other_classes(reference.outputs, samples)
        meant = budget.resolve(judged_by(reference, samples))
        return cls(reference, samples, replace(meant, stress="none"), run)

    def names(self, file: Path) -> Mapping[str, str]:
        """The reference's inputs to those of ``file``.

        Raises ``ModelError`` if it is no ONNX file, or takes or gives something else.
        """
        if is_keras(file):
            raise ModelError(
                f"{file} is a Keras model, and engines race ONNX files; convert it first: "
                f"kilnx convert {file} -o {file.stem}.onnx"
            )
        graph, name = load_model(file), str(file)
        pair_specs(
            "output", self.reference.outputs, model_outputs(graph), self.reference.name, name
        )
        return pair_specs(
            "input", self.reference.inputs, model_inputs(graph), self.reference.name, name
        )

    def feeds(
        self, names: Mapping[str, str], inputs: Sequence[TensorSpec], batch: int
    ) -> dict[int, Feed]:
        """Samples at batch 1 and at ``batch``, or at the one size that the file fixes."""
        fixed = fixed_batch(inputs)
        return {
            size: {names[name]: values for name, values in self._sampled(size).items()}
            for size in ((1, batch) if fixed is None else (fixed,))
        }

    def judge(self, entry: Entry, runtime: Racer) -> Entry:
        """``entry`` with what parity says of ``runtime``, or why it does not run the file."""
        try:
            found = check(self.reference, runtime, self.samples, budget=self.budget, run=self.run)
        except KilnxError as error:
            return replace(entry, refused=str(error), quantized=runtime.quantized)
        return _judged(replace(entry, quantized=runtime.quantized), found)

    def _sampled(self, size: int) -> Feed:
        return sampled_inputs(self.samples, self.reference.inputs, size).feed


def described(budget: Budget) -> str:
    """The budget in words, as it was resolved."""
    floors = f"agreement ≥ {budget.agreement:.2%} and SQNR ≥ {budget.sqnr_db:g} dB"
    if budget.metric is None:
        return floors
    drops = dict(budget.drops)
    parts = [
        f"{name} at most {drops.get(name, budget.shared_drop):g} worse"
        for name in budget.metric.split(",")
        if not math.isinf(drops.get(name, budget.shared_drop))
    ]
    return " and ".join(parts) or floors


def _judged(entry: Entry, found: ParityReport) -> Entry:
    sqnr = [one.sqnr_db for one in found.outputs if one.sqnr_db is not None]
    agreement = [one.agreement for one in found.outputs if one.agreement is not None]
    worst = min(sqnr, default=math.inf)
    return replace(
        entry,
        in_budget=found.passed,
        verdict=found.reason,
        sqnr_db=worst if math.isfinite(worst) else None,
        agreement=min(agreement, default=None),
        metrics=found.metrics,
    )
