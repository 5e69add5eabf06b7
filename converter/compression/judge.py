"""The judge of ``compress``: is a candidate inside the budget, how large and how fast is it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from converter.report.report import Measured
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import file_bytes
from runtimes.parity.budget import Budget, default_metric
from runtimes.parity.check import ParityReport, evaluate
from runtimes.profiling.profile import ProfileReport, profile
from runtimes.profiling.report import NOISE_MARGIN

__all__ = ["Budget", "Judge", "default_metric"]


@dataclass(frozen=True)
class Judge:
    """Measures candidates against the fp32 reference: parity, metric, size and latency."""

    reference: Path
    evaluation: Dataset
    budget: Budget
    provider: str
    threads: int
    seed: int

    def baseline(self) -> Measured:
        """The reference itself."""
        metric = None
        if self.budget.metric is not None:
            metric = evaluate(
                self.reference, self.evaluation, self.budget.metric, threads=self.threads
            )
        latency = self._profile(self.reference, None).batches[0].model.p50_ms
        return Measured(file_bytes(self.reference), latency, metric, None, 1.0, 1.0, 1.0)

    def parity(self, path: Path) -> ParityReport:
        """Whether the model at ``path`` is inside the budget."""
        return self.budget.check(
            self.reference,
            path,
            self.evaluation,
            providers=(self.provider,),
            threads=self.threads,
        )

    def measure(self, path: Path, parity: ParityReport, best: Measured) -> Measured:
        """Size, latency against the reference (interleaved), and what parity found.

        The latency is the reference's, which ``best`` implies, divided by the measured speed-up:
        medians from different minutes of a shared machine would contradict the ratio.
        """
        found = self._profile(path, self.reference).batches[0]
        sqnr = [out.sqnr_db for out in parity.outputs if out.sqnr_db is not None]
        agreement = [out.agreement for out in parity.outputs if out.agreement is not None]
        worst = min(sqnr, default=math.inf)
        return Measured(
            size_bytes=file_bytes(path),
            latency_ms=(best.latency_ms or 0.0) * (best.speedup or 1.0) / (found.ratio or 1.0),
            metric=parity.metrics[0].candidate if parity.metrics else min(agreement, default=None),
            sqnr_db=worst if math.isfinite(worst) else None,
            speedup=found.ratio,
            speedup_low=found.ratio_low,
            speedup_high=found.ratio_high,
        )

    def speed(self, path: Path, than: Path) -> tuple[bool, bool, float]:
        """Whether ``path`` is surely faster than, surely slower than ``than``, and the ratio."""
        found = self._profile(path, than)
        ratio = found.batches[0].ratio
        return found.faster(NOISE_MARGIN), found.slower(NOISE_MARGIN), ratio or 1.0

    def _profile(self, path: Path, against: Path | None) -> ProfileReport:
        return profile(
            path,
            against=against,
            provider=self.provider,
            threads=self.threads,
            data=self.evaluation,
            seed=self.seed,
        )
