"""Is a pruned model still inside the budget? Judged on data that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from converter.judge import Budget
from runtimes.dataset import Dataset
from runtimes.errors import DataError
from runtimes.feed import run_padded
from runtimes.metrics import Metric, drop, open_metric
from runtimes.modelfile import model_outputs
from runtimes.ort import OrtRuntime
from runtimes.parity import ParityAccumulator

_FOLDS = 10
_HOPELESS_DB = 2.0
_SURE = 1.5


@dataclass(frozen=True)
class Judgement:
    """``passed``, why, and what it rests on.

    ``drop`` of the metric with its standard error; ``agreement`` (the least over the outputs,
    with its standard error) and ``sqnr_db`` (likewise the least) against the reference.
    """

    passed: bool
    reason: str
    drop: float | None
    drop_error: float
    agreement: float | None
    sqnr_db: float

    def is_hopeless(self, budget: Budget) -> bool:
        """Whether more samples would hardly change that it is outside the budget."""
        if self.drop is not None:
            return self.drop - _SURE * self.drop_error > budget.max_drop
        return budget.metric is None and self.sqnr_db < budget.min_sqnr_db - _HOPELESS_DB


def share_of(budget: Budget, share: float) -> Budget:
    """The budget of which only ``share`` may be spent: of the drop, or of the noise."""
    return replace(
        budget,
        max_drop=budget.max_drop * share,
        min_agreement=1 - (1 - budget.min_agreement) * share,
        min_sqnr_db=budget.min_sqnr_db - 10 * math.log10(share),
    )


def judge(
    reference: ir.Model,
    candidates: Sequence[tuple[ir.Model, Dataset]],
    budget: Budget,
    *,
    threads: int = 1,
) -> Judgement:
    """Judge models that stand for one: each on its own data, all together.

    What is estimated from few samples has to hold with one and a half times its standard error
    added: a drop of the metric (from ten folds), or the disagreement with the reference. Other
    samples judge at last, and may well find that much more.
    """
    outputs = [spec.name for spec in model_outputs(reference)]
    labels = candidates[0][1].label_names
    metrics = None if budget.metric is None else _FoldedMetric(budget.metric, outputs, labels)
    parity = {name: ParityAccumulator(name, "cpu") for name in outputs}
    samples = 0
    with OrtRuntime(reference, threads=threads) as whole:
        for model, data in candidates:
            size = max(1, min(32, (data.num_samples or 1) // _FOLDS))
            with OrtRuntime(model, threads=threads) as pruned:
                for batch in data.batches(size):
                    expected, found = run_padded(whole, batch.feed), run_padded(pruned, batch.feed)
                    for name, accumulator in parity.items():
                        accumulator.update(expected[name], found[name], batch.indices)
                    if metrics is not None:
                        metrics.update(expected, found, batch.labels, batch.indices)
                    samples += len(batch)
    results = [accumulator.result() for accumulator in parity.values()]
    problem = next((result.problem for result in results if result.problem), None)
    agreement = min((r.agreement for r in results if r.agreement is not None), default=None)
    sqnr = min((r.sqnr_db for r in results if r.sqnr_db is not None), default=math.inf)
    if problem is not None:
        return Judgement(False, problem, None, 0.0, agreement, -math.inf)
    if metrics is not None:
        return _by_metric(budget, *metrics.drop(), agreement, sqnr)
    return _by_parity(budget, agreement, sqnr, samples)


def _by_metric(
    budget: Budget, lost: float, error: float, agreement: float | None, sqnr: float
) -> Judgement:
    passed = lost + _SURE * error <= budget.max_drop + 1e-9
    reason = (
        f"{budget.metric} drops by {lost:.4f} ± {error:.4f} on data held out, "
        f"{budget.max_drop:g} may be spent"
    )
    return Judgement(passed, reason, lost, error, agreement, sqnr)


def _by_parity(budget: Budget, agreement: float | None, sqnr: float, samples: int) -> Judgement:
    parts = [f"SQNR {sqnr:.1f} dB, at least {budget.min_sqnr_db:.1f} dB"]
    passed = sqnr >= budget.min_sqnr_db
    if agreement is not None:
        error = math.sqrt(agreement * (1 - agreement) / samples)
        passed = passed and agreement - _SURE * error >= budget.min_agreement - 1e-9
        parts.append(
            f"agreement {agreement:.2%} ± {error:.2%}, at least {budget.min_agreement:.2%}"
        )
    reason = f"{' and '.join(parts)} on data held out"
    return Judgement(passed, reason, None, 0.0, agreement, sqnr)


class _FoldedMetric:
    """A metric of both models, over everything and over folds, which tell how sure it is."""

    def __init__(self, name: str, outputs: Sequence[str], labels: Sequence[str]) -> None:
        def pair() -> tuple[Metric, Metric]:
            return open_metric(name, outputs, labels), open_metric(name, outputs, labels)

        self._all = pair()
        self._folds = [pair() for _ in range(_FOLDS)]
        self._batches = 0

    def update(self, expected: object, found: object, labels: object, indices: object) -> None:
        fold = self._folds[self._batches % _FOLDS]
        self._batches += 1
        for metric, results in zip((*self._all, *fold), (expected, found) * 2, strict=True):
            metric.update(results, labels, indices)  # type: ignore[arg-type]

    def drop(self) -> tuple[float, float]:
        """The drop over everything, and its standard error (zero where folds have no value)."""
        folds = self._folds[: self._batches]
        try:
            drops = [_drop(*fold) for fold in folds]
        except DataError:  # a fold may lack a class that the metric needs
            drops = []
        error = float(np.std(drops, ddof=1) / math.sqrt(len(drops))) if len(drops) > 1 else 0.0
        return _drop(*self._all), error


def _drop(reference: Metric, candidate: Metric) -> float:
    higher = reference.higher_is_better
    return drop(reference.value(), candidate.value(), higher_is_better=higher)
