"""Is a pruned model still inside the budget? Judged on data that it was not fitted on.

A drop of one point is five of five hundred samples: counting them tells little. But the mean
squared error of the outputs is known well, and a small error costs a metric in proportion to its
square (to first order as many samples gain as lose). So what all models that were tried lost
together, over the errors that they made together, tells what one of them will lose, and the
spread of that ratio over parts of the data tells how sure it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError
from runtimes.metrics.metric import Metric, drop, open_metric
from runtimes.onnx_files.load_save import model_outputs
from runtimes.parity.budget import Budget
from runtimes.parity.output_error import OutputParity, ParityAccumulator
from runtimes.parity.verdict import that_agree, unlabelled

# Parts of the data over which a drop is spread, where a sample has no value by itself.
_FOLDS = 10
# Standard errors: what passes is judged once more on data of its own, and milder plans stand by.
_SURE = 1.0
# So far outside the budget, in dB or in budgets, nothing is learned from a candidate any more.
_HOPELESS_DB = 2.0
_HOPELESS_DROPS = 2.0
# So far inside, in dB or as a share of the drop, nothing more has to be known to go on.
_FAR_DB = 3.0
_FAR_SHARE = 0.5


@dataclass(frozen=True)
class Judgement:
    """What one candidate does on held-out data.

    ``drop`` of the metric over everything, and ``drops`` over each sample, or over each of ten
    parts where a sample has no value by itself (none where parts have none, or there is no
    metric); ``agreement`` with the reference and ``sqnr_db`` against it, the least over the outputs
    that judge, and ``unlabelled_db`` the least over those that the metric says nothing of.
    ``problem``: why the outputs cannot be compared.
    """

    samples: int
    drop: float | None
    drops: tuple[float, ...]
    agreement: float | None
    sqnr_db: float
    problem: str | None = None
    unlabelled_db: float = math.inf

    @property
    def noise(self) -> float:
        """Power of the error relative to that of the reference."""
        return float(10 ** (-self.sqnr_db / 10))

    @property
    def _spread(self) -> float:
        """Standard error of the drop; zero where no part of the data has one of its own."""
        return float(np.std(self.drops)) / math.sqrt(len(self.drops)) if self.drops else 0.0

    def is_hopeless(self, budget: Budget) -> bool:
        """Whether it is so far outside the budget that nothing can be learned from it."""
        if self.problem is not None:
            return True
        if self.drop is None:
            return self.sqnr_db < budget.sqnr_db - _HOPELESS_DB
        if self.unlabelled_db < budget.sqnr_db - _HOPELESS_DB:
            return True
        return self.drop - 2 * self._spread > _HOPELESS_DROPS * budget.drop

    def is_far_inside(self, budget: Budget) -> bool:
        """Whether there is so much of the budget left that little has to be known of it."""
        if self.problem is not None or self.unlabelled_db < budget.sqnr_db + _FAR_DB:
            return False
        if self.drop is None:
            lost = 1.0 - (1.0 if self.agreement is None else self.agreement)
            inside = lost <= _FAR_SHARE * (1 - budget.agreement)
            return self.sqnr_db >= budget.sqnr_db + _FAR_DB and inside
        return self.drop + 2 * self._spread <= _FAR_SHARE * budget.drop


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate is inside the budget, and why; ``drop`` is what it should lose."""

    passed: bool
    reason: str
    drop: float | None


def share_of(budget: Budget, share: float) -> Budget:
    """The budget of which only ``share`` may be spent: of the drop, or of the noise."""
    return replace(
        budget,
        max_drop=budget.drop * share,
        min_agreement=1 - (1 - budget.agreement) * share,
        min_sqnr=budget.sqnr_db - 10 * math.log10(share),
    )


def decide(judgement: Judgement, evidence: Sequence[Judgement], budget: Budget) -> Verdict:
    """Decide about one candidate by all that were judged on the same data (itself included)."""
    if judgement.problem is not None:
        return Verdict(False, judgement.problem, None)
    if judgement.drop is None:
        return _by_parity(judgement, budget)
    lost, error = _expected_drop(judgement, evidence)
    allowed = budget.drop + 1e-9
    passed = lost + _SURE * error <= allowed and judgement.drop <= allowed
    judged = f"{len(evidence)} model{'' if len(evidence) == 1 else 's'}"
    reason = (
        f"{budget.metric} {_worse(judgement.drop)} on data held out (expected from {judged}: a "
        f"loss of {lost:.4f} ± {error:.4f}); {budget.drop:g} may be spent"
    )
    if judgement.unlabelled_db < budget.sqnr_db:
        passed = False
        reason += (
            f", and an output without labels is at {judgement.unlabelled_db:.1f} dB, "
            f"at least {budget.sqnr_db:.1f} dB"
        )
    return Verdict(passed, reason, max(lost, judgement.drop))


def _worse(drop: float) -> str:
    """A drop in words; models get better by chance, too."""
    if f"{abs(drop):.4f}" == "0.0000":
        return "stays as it is"
    return f"gets {abs(drop):.4f} {'worse' if drop > 0 else 'better'}"


def _expected_drop(judgement: Judgement, evidence: Sequence[Judgement]) -> tuple[float, float]:
    """The drop that the noise of a candidate should cost, and its standard error."""
    noise = sum(one.noise for one in evidence)
    if not noise:
        return 0.0, 0.0
    lost = sum(one.drop or 0.0 for one in evidence) / noise
    parts = [one.drops for one in evidence]
    error = 0.0
    if all(parts) and len({len(drops) for drops in parts}) == 1:
        by_part = np.sum(parts, axis=0) / noise
        error = float(np.std(by_part, ddof=1) / math.sqrt(len(by_part)))
    return max(0.0, lost) * judgement.noise, error * judgement.noise


def _by_parity(judgement: Judgement, budget: Budget) -> Verdict:
    sqnr, agreement = judgement.sqnr_db, judgement.agreement
    parts = [f"SQNR {sqnr:.1f} dB, at least {budget.sqnr_db:.1f} dB"]
    passed = sqnr >= budget.sqnr_db
    if agreement is not None:
        error = math.sqrt(agreement * (1 - agreement) / judgement.samples)
        passed = passed and agreement - _SURE * error >= budget.agreement - 1e-9
        parts.append(f"agreement {agreement:.2%} ± {error:.2%}, at least {budget.agreement:.2%}")
    return Verdict(passed, f"{' and '.join(parts)} on data held out", None)


def judge(
    reference: ir.Model,
    candidates: Sequence[tuple[ir.Model, Dataset]],
    metric: str | None,
    *,
    threads: int = 1,
) -> Judgement:
    """Judge models that stand for one: each on its own data, all together."""
    outputs = [spec.name for spec in model_outputs(reference)]
    labels = candidates[0][1].label_names
    names = [] if metric is None else metric.split(",")
    metrics = [_FoldedMetric(name, outputs, labels) for name in names]
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
                    for one in metrics:
                        one.update(expected, found, batch.labels, batch.indices)
                    samples += len(batch)
    results = [accumulator.result() for accumulator in parity.values()]
    problem = next((result.problem for result in results if result.problem), None)
    others = unlabelled(outputs, [one.output for one in metrics]) if metrics else ()
    agreements = [one.agreement for one in that_agree(results) if one.agreement is not None]
    agreement = min(agreements, default=None)
    if problem is not None:
        return Judgement(samples, None, (), agreement, -math.inf, problem)
    drops = [one.drop() for one in metrics]
    lost, parts = max(drops, key=lambda found: found[0]) if drops else (None, ())
    return Judgement(
        samples,
        lost,
        parts,
        agreement,
        _least_sqnr([one for one in results if one.output not in others]),
        unlabelled_db=_least_sqnr([one for one in results if one.output in others]),
    )


def _least_sqnr(results: Sequence[OutputParity]) -> float:
    return min((one.sqnr_db for one in results if one.sqnr_db is not None), default=math.inf)


class _FoldedMetric:
    """A metric of both models, over everything and over folds, which tell how sure it is."""

    def __init__(self, name: str, outputs: Sequence[str], labels: Sequence[str]) -> None:
        def pair() -> tuple[Metric, Metric]:
            return open_metric(name, outputs, labels), open_metric(name, outputs, labels)

        self._all = pair()
        self._folds = [pair() for _ in range(_FOLDS)]
        self._batches = 0

    @property
    def output(self) -> str | None:
        """The output that it judges; None: all of them."""
        return self._all[0].output

    def update(self, expected: object, found: object, labels: object, indices: object) -> None:
        fold = self._folds[self._batches % _FOLDS]
        self._batches += 1
        for metric, results in zip((*self._all, *fold), (expected, found) * 2, strict=True):
            metric.update(results, labels, indices)  # type: ignore[arg-type]

    def drop(self) -> tuple[float, tuple[float, ...]]:
        """The drop over everything, and over each sample or fold (of none, where one has none)."""
        reference, candidate = (metric.scores() for metric in self._all)
        if reference is not None and candidate is not None:
            sign = 1.0 if self._all[0].higher_is_better else -1.0
            return _drop(*self._all), tuple((sign * (reference - candidate)).tolist())
        try:
            parts = tuple(_drop(*fold) for fold in self._folds[: self._batches])
        except DataError:  # a fold may lack a class that the metric needs
            parts = ()
        return _drop(*self._all), parts if len(parts) > 1 else ()


def _drop(reference: Metric, candidate: Metric) -> float:
    higher = reference.higher_is_better
    return drop(reference.value(), candidate.value(), higher_is_better=higher)
