"""What a candidate does next to its reference on perturbed samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RungParity:
    """A candidate on one rung, by a metric, by agreement or by SQNR.

    ``reference`` and ``candidate``: what both reach, where the reference agrees with itself and has
    no SQNR. ``drop`` is allowed to be ``allowed`` (of SQNR, a floor in dB) and, because samples are
    few, ``margin`` more, which is infinite where nothing says how sure the drop is.
    """

    name: str
    measure: str = ""
    reference: float | None = None
    candidate: float | None = None
    drop: float | None = None
    allowed: float | None = None
    margin: float = 0.0
    higher_is_better: bool = True
    passed: bool = True
    reason: str = ""

    @property
    def limit(self) -> float | None:
        """The worst that passes; None where nothing was measured."""
        if self.allowed is None:
            return None
        margin = self.margin if math.isfinite(self.margin) else 0.0
        if self.reference is None:
            return self.allowed - margin
        return self.reference - (self.allowed + margin) * (1 if self.higher_is_better else -1)

    def __str__(self) -> str:
        if self.candidate is None:
            return self.reason
        before = "" if self.reference is None else f"{self.measure} {self.reference:.4g} → "
        after = f"SQNR {self.candidate:.1f} dB" if not before else f"{self.candidate:.4g}"
        return f"{before}{after}"


@dataclass(frozen=True)
class StressReport:
    """The rungs on which a candidate was judged, up to the first that it failed on.

    ``left_out``: rungs that the reference does not bear, with the reason; ``samples``: how many
    were perturbed.
    """

    passed: bool
    reason: str
    rungs: tuple[RungParity, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    samples: int = 0

    @classmethod
    def of(
        cls, rungs: Sequence[RungParity], left_out: Sequence[tuple[str, str]], samples: int
    ) -> StressReport:
        """The report on these rungs, which passes if all of them do."""
        failed = [one.reason for one in rungs if not one.passed]
        names = ", ".join(one.name for one in rungs)
        reason = f"holds under {names}" if names else "the reference bears no perturbation"
        if not rungs and not left_out:
            reason = "no input that can be perturbed"
        reason = failed[0] if failed else reason
        return cls(not failed, reason, tuple(rungs), tuple(left_out), samples)

    def line(self) -> str:
        """The rungs in one line."""
        return "; ".join(f"{one.name}: {one}" for one in self.rungs) or self.reason

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells a rung, for a table."""
        return [
            {
                "under": one.name,
                "measure": one.measure,
                "fp32": _number(one, one.reference),
                "candidate": _number(one, one.candidate),
                "drop": _number(one, one.drop),
                "allowed": _number(one, one.allowed),
                "": "" if one.passed else "FAILED",
            }
            for one in self.rungs
        ]


def _number(rung: RungParity, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} dB" if rung.measure == "SQNR" else f"{value:.4f}"
