"""The judge of ``compress``: is a candidate inside the budget, how large and how fast is it?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import onnx_ir as ir

from converter.compression.gain import Gain
from converter.compression.spent import most_spent
from converter.report.report import Measured
from quantizers.options import Prefer
from runtimes.base import Feed
from runtimes.costs import Costs
from runtimes.data.dataset import Dataset
from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.machine_load import MachineLoad, noted
from runtimes.onnx_files.load_save import file_bytes, load_model, model_inputs
from runtimes.options import RunOptions
from runtimes.parity.budget import Budget
from runtimes.parity.check import check, evaluate
from runtimes.parity.report import ParityReport
from runtimes.parity.stressed import Stressed
from runtimes.profiling.profile import ProfileReport, profile
from runtimes.stress.rungs import Rung

# A race that only confirms what the cost table found may be short; intervals tell if it was too
# short, and then it goes on.
_RACE_SECONDS, _DECIDING_SECONDS = 0.5, 1.0


@dataclass(frozen=True)
class Judge:
    """Measures candidates against the fp32 reference: parity, metric, size and latency.

    ``costs``: the table that decides what is faster; without one (on other providers) the clock.
    ``provider`` measures, and all of ``judged_in`` judge.
    ``device``: where candidates run and are timed, if not here.
    """

    reference: Path
    evaluation: Dataset
    budget: Budget
    provider: str
    run: RunOptions
    prefer: Prefer = "balanced"
    costs: Costs | None = None
    judged_in: tuple[str, ...] = ("cpu",)
    device: Elsewhere | None = None

    def baseline(self, *, timed: bool = True) -> Measured:
        """The reference itself; its latency is not known where it is not ``timed``."""
        metric = None
        if self.budget.metric is not None:
            first = self.budget.metric.split(",")[0]  # the reasons tell of the others
            metric = evaluate(self.whole, self.evaluation, first, run=self._quiet)
        size = file_bytes(self.reference)
        if not timed:
            return Measured(size, None, metric)
        latency = self._profile(self.reference, None).batches[0].model.p50_ms
        return Measured(
            size,
            latency,
            metric,
            speedup=1.0,
            speedup_low=1.0,
            speedup_high=1.0,
        )

    def parity(self, model: Path | ir.Model) -> ParityReport:
        """Whether ``model`` is inside the budget."""
        return check(
            self.whole,
            model,
            self.evaluation,
            budget=self.budget,
            providers=self.judged_in,
            stressed=self._stressed,
            device=self.device,
            run=self._quiet,
        )

    def spent(self, parity: ParityReport) -> float:
        """Which share of the budget is spent, on clean or perturbed samples; 1 is all of it."""
        return most_spent(parity, self.budget)

    def measure(self, path: Path, parity: ParityReport, best: Measured) -> Measured:
        """Size, latency against the reference (interleaved), and what parity found.

        The latency is the reference's, which ``best`` implies, divided by the measured speed-up:
        medians from different minutes of a shared machine would contradict the ratio.
        """
        found = self._profile(path, self.reference).batches[0]
        timed = replace(
            self._found(path, parity),
            speedup=found.ratio,
            speedup_low=found.ratio_low,
            speedup_high=found.ratio_high,
        )
        return replace(timed, latency_ms=_latency(best, found.ratio))

    def predict(self, path: Path, parity: ParityReport, best: Measured) -> Measured:
        """The same by the cost table, for what is not going to be kept; measured without one."""
        if self.costs is None:
            return self.measure(path, parity, best)
        whole, own = self.costs.latencies([self.reference, path], self._feeds[0])
        found = replace(self._found(path, parity), speedup=whole / own)
        return replace(found, latency_ms=_latency(best, found.speedup))

    def _found(self, path: Path, parity: ParityReport) -> Measured:
        sqnr = [out.sqnr_db for out in parity.outputs if out.sqnr_db is not None]
        agreement = [out.agreement for out in parity.outputs if out.agreement is not None]
        worst = min(sqnr, default=math.inf)
        return Measured(
            size_bytes=file_bytes(path),
            latency_ms=None,
            metric=parity.metrics[0].candidate if parity.metrics else None,
            agreement=min(agreement, default=None),
            sqnr_db=worst if math.isfinite(worst) else None,
        )

    def gain(self, path: Path, than: Path) -> Gain:
        """What the model at ``path`` is worth next to the one at ``than``."""
        if self.costs is None:
            return Gain.of(self._profile(path, than), self.prefer)
        share = file_bytes(path) / file_bytes(than)
        return Gain.predicted(path, than, self._feeds, self.costs, share, self.prefer)

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The perturbations that candidates are judged under."""
        return self._stressed.rungs

    @cached_property
    def _stressed(self) -> Stressed:
        """What the reference does on perturbed samples: once for all candidates."""
        return Stressed(
            self.whole,
            self.evaluation,
            self.budget,
            self.run.seed,
            self.run.threads,
            progress=self.run.tell,
        )

    @cached_property
    def whole(self) -> RememberingRuntime:
        """The reference, which runs once for all candidates."""
        return RememberingRuntime(self.reference, threads=self.run.threads, config=NO_SPINNING)

    @cached_property
    def _feeds(self) -> list[Feed]:
        return timed_feeds(self.evaluation, model_inputs(load_model(self.reference)))

    @cached_property
    def _loads(self) -> list[MachineLoad]:
        """What disturbed each timing."""
        return []

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of the timings: whether the machine was busy."""
        return noted(self._loads)

    def _profile(self, path: Path, against: Path | None) -> ProfileReport:
        found = profile(
            path,
            against=against,
            provider=self.provider,
            data=self.evaluation,
            device=self.device,
            min_time=_DECIDING_SECONDS if self.costs is None else _RACE_SECONDS,
            run=self._quiet,
        )
        self._loads.append(found.load)
        return found

    @property
    def _quiet(self) -> RunOptions:
        """The steps are told, not every sample."""
        return RunOptions(self.run.threads, self.run.seed)


def _latency(best: Measured, speedup: float | None) -> float | None:
    """Milliseconds of what is ``speedup`` times as fast as the reference of ``best``."""
    if best.latency_ms is None:
        return None
    return best.latency_ms * (best.speedup or 1.0) / (speedup or 1.0)
