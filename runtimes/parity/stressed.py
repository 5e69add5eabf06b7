"""Holds a candidate against its reference on perturbed samples, too.

The budget is the one of clean samples, and what counts is the loss next to the reference on the
same perturbed samples. There are several rungs and few samples, so that by chance alone one of many
honest candidates would miss one of them: a rung refuses only what is beyond the budget by more than
chance explains, at 95% confidence on one side. For a metric that is 1.645 standard errors of the
paired difference, for a floor of agreement those of a share, and 1 dB for a floor of SQNR. On clean
samples the budget decides as measured, and with ``strict`` it does on the rungs.
"""

from __future__ import annotations

import filecmp
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtimes.data.dataset import Dataset
from runtimes.engines.open_runtime import is_runtime
from runtimes.engines.runtime import Runtime
from runtimes.errors import KilnxError
from runtimes.metrics.metric import open_metrics
from runtimes.parity.budget import Budget
from runtimes.parity.candidate import Candidate, compare_metrics
from runtimes.parity.kept_outputs import KeptOutputs
from runtimes.parity.ladder import Ladder, measure_ladder
from runtimes.parity.output_error import OutputParity
from runtimes.parity.report import ParityReport
from runtimes.parity.stress_report import RungParity, StressReport
from runtimes.parity.verdict import (
    DEFAULT_AGREEMENT,
    DEFAULT_SQNR_DB,
    FAILED,
    MetricParity,
    Rules,
    float_rule_applies,
    that_agree,
    unlabelled,
)
from runtimes.progress import Progress, silent
from runtimes.stress.rungs import Rung

CLEAN_ONLY = "stress is none: only clean samples judged"
"""What a report says where perturbed samples were not asked for."""

# The 95% quantile of the normal distribution.
_ONE_SIDED = 1.6449
_DECIBELS = 1.0


@dataclass
class Stressed:
    """A reference under the perturbations that it bears, and the candidates held against it.

    The ladder is measured when the first candidate is, and serves all others.
    """

    reference: Any
    data: Dataset
    budget: Budget
    seed: int = 0
    threads: int = 1
    batch_size: int = 32
    progress: Progress = silent
    _ladder: Ladder | None = field(default=None, init=False, repr=False)
    _refused_by: str = field(default="", init=False, repr=False)

    @property
    def _metric(self) -> str | None:
        return self.budget.metric if self.budget.rules().max_drop is not None else None

    @property
    def ladder(self) -> Ladder:
        """The rungs that the reference bears."""
        if self._ladder is None:
            self._ladder = measure_ladder(
                self.reference,
                self.data,
                self._metric,
                seed=self.seed,
                threads=self.threads,
                batch_size=self.batch_size,
                progress=self.progress,
            )
        return self._ladder

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The perturbations that candidates are judged under; none where none were asked for."""
        return () if self.budget.stress == "none" else self.ladder.rungs

    def added(
        self, report: ParityReport, candidate: Runtime, rules: Rules, *, quantized: bool
    ) -> ParityReport:
        """``report`` of clean samples with what ``candidate`` does on the rungs, if it passed.

        Only where a budget judges: tolerances and the rule of rounding noise say that both models
        compute the same, which clean samples tell.
        """
        labelled = self.budget.metric is not None
        if float_rule_applies(rules, labelled=labelled, quantized=quantized):
            return report
        if rules.max_drop is None and (rules.rtol, rules.atol) != (None, None):
            return report
        if self.budget.stress == "none":
            return replace(report, notes=(*report.notes, CLEAN_ONLY))
        if not report.passed or _same_file(self.reference, candidate):
            return report
        found = self.judge(candidate)
        if found.passed:
            return replace(report, stress=found, reason=f"{report.reason}; {found.reason}")
        return replace(report, passed=False, verdict=FAILED, reason=found.reason, stress=found)

    def judge(self, candidate: Runtime) -> StressReport:
        """The rungs one after the other, up to the first that ``candidate`` fails on.

        That which refused the last candidate comes first: it most likely refuses this one, too.
        """
        ladder, found = self.ladder, dict[str, RungParity]()
        names = [rung.name for rung in ladder.rungs]
        for name in sorted(names, key=lambda name: name != self._refused_by):
            self.progress(f"judging under {name}")
            found[name] = self._on(name, ladder.outputs[name], candidate)
            if not found[name].passed:
                self._refused_by = name
                break
        rungs = [found[name] for name in names if name in found]
        return StressReport.of(rungs, ladder.left_out, ladder.samples)

    def _on(self, name: str, expected: KeptOutputs, runtime: Runtime) -> RungParity:
        try:
            outputs, metrics = self._compared(expected, Candidate("", runtime))
        except KilnxError as error:
            return RungParity(name, passed=False, reason=f"{name}: {error}")
        rules = self.budget.rules()
        judged = [*_drops(metrics, rules), *_floors(outputs, metrics, rules, self.ladder.samples)]
        broken = [f"{one.output}: {one.problem}" for one in outputs if one.problem]
        reasons = broken or [one.reason for one in judged if not one.passed]
        first = next(
            (one for one in judged if not one.passed), judged[0] if judged else RungParity(name)
        )
        if reasons:
            return replace(first, name=name, passed=False, reason=f"{name}: {'; '.join(reasons)}")
        return replace(first, name=name)

    def _compared(
        self, expected: KeptOutputs, candidate: Candidate
    ) -> tuple[tuple[OutputParity, ...], tuple[MetricParity, ...]]:
        references: Sequence[Any] = ()
        names: list[str] = []
        count = 0
        for batch, outputs in expected.batches():
            if not names:
                names = list(outputs)
                tuple(candidate.match(expected))
                candidate.start(names, None, None)
                if self._metric is not None:
                    labels = expected.data.label_names
                    references = open_metrics(self._metric, names, labels)
                    candidate.metrics = open_metrics(self._metric, names, labels)
            for one in references:
                one.update(outputs, batch.labels, batch.indices)
            candidate.update(outputs, batch)
            count += len(batch)
        allowed = self.budget.rules().allowed
        metrics = compare_metrics(references, [candidate], allowed, count, self.seed)
        return candidate.results(), metrics


def _drops(metrics: Sequence[MetricParity], rules: Rules) -> Iterator[RungParity]:
    """How much more than the reference the candidate loses, by metric."""
    for one in metrics:
        allowed = rules.allowed(one.name)
        assert allowed is not None
        # Nothing says how sure a drop without an interval is.
        margin = math.inf if one.deviation is None else _ONE_SIDED * one.deviation
        if rules.strict:
            margin = 0.0
        verb = "fell" if one.higher_is_better else "rose"
        yield RungParity(
            "",
            one.name,
            one.reference,
            one.candidate,
            one.drop,
            allowed,
            margin,
            one.higher_is_better,
            passed=one.drop <= allowed + margin + 1e-9,
            reason=f"{one.name} {verb} by {one.drop:.3f} of {allowed:g} allowed",
        )


def _floors(
    outputs: Sequence[OutputParity], metrics: Sequence[MetricParity], rules: Rules, samples: int
) -> Iterator[RungParity]:
    """Floors of agreement and SQNR, of all outputs that no metric judges."""
    names = [one.output for one in outputs]
    judged = unlabelled(names, [one.output for one in metrics]) if metrics else names
    agreement, decibels = rules.min_agreement, rules.min_sqnr
    if metrics or (agreement is None and decibels is None):
        agreement = DEFAULT_AGREEMENT if agreement is None else agreement
        decibels = DEFAULT_SQNR_DB if decibels is None else decibels
    counting = that_agree(outputs)
    for one in outputs:
        if one.output not in judged:
            continue
        if agreement is not None and one.agreement is not None and one in counting:
            yield _agreement(one, one.agreement, agreement, 0 if rules.strict else samples)
        if decibels is not None and one.sqnr_db is not None:
            yield _sqnr(one, one.sqnr_db, decibels, 0.0 if rules.strict else _DECIBELS)


def _agreement(output: OutputParity, found: float, floor: float, samples: int) -> RungParity:
    spread = math.sqrt(max(floor * (1 - floor), 0.0) / samples) if samples else 0.0
    return RungParity(
        "",
        "agreement",
        1.0,
        found,
        1 - found,
        1 - floor,
        _ONE_SIDED * spread,
        passed=found >= floor - _ONE_SIDED * spread - 1e-9,
        reason=f"{output.output}: agreement {found:.2%}, {floor:.2%} is the floor",
    )


def _sqnr(output: OutputParity, found: float, floor: float, margin: float) -> RungParity:
    return RungParity(
        "",
        "SQNR",
        None,
        found,
        None,
        floor,
        margin,
        passed=found >= floor - margin,
        reason=f"{output.output}: SQNR {found:.1f} dB, {floor:g} dB is the floor",
    )


def _same_file(*models: Any) -> bool:
    """Whether both are the same file, or the same bytes in two: nothing can tell them apart."""
    one, other = (model.source if is_runtime(model) else model for model in models)
    if not isinstance(one, str | os.PathLike) or not isinstance(other, str | os.PathLike):
        return one is other
    paths = Path(one), Path(other)
    return all(map(Path.is_file, paths)) and filecmp.cmp(*paths, shallow=False)
