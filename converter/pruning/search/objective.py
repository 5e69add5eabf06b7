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

from runtimes.parity.budget import Budget

# Standard errors: what passes is judged once more on data of its own, and milder plans stand by.
SURE = 1.0
# So far outside the budget, in dB or in budgets, nothing is learned from a candidate any more.
_HOPELESS_DB = 2.0
_HOPELESS_DROPS = 2.0
# So many standard errors are no chance; nor would more of the data change a verdict by so many dB.
_SURELY = 2.0
_OUTSIDE_DB = 1.0
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
    ``problem``: why the outputs cannot be compared. ``sure``: how many standard errors are added to
    what it loses.
    """

    samples: int
    drop: float | None
    drops: tuple[float, ...]
    agreement: float | None
    sqnr_db: float
    problem: str | None = None
    unlabelled_db: float = math.inf
    sure: float = SURE

    @property
    def noise(self) -> float:
        """Power of the error relative to that of the reference."""
        return float(10 ** (-self.sqnr_db / 10))

    @property
    def spread(self) -> float:
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
        return self.drop - _SURELY * self.spread > _HOPELESS_DROPS * budget.drop

    def is_far_inside(self, budget: Budget) -> bool:
        """Whether there is so much of the budget left that little has to be known of it."""
        if self.problem is not None or self.unlabelled_db < budget.sqnr_db + _FAR_DB:
            return False
        if self.drop is None:
            lost = 1.0 - (1.0 if self.agreement is None else self.agreement)
            inside = lost <= _FAR_SHARE * (1 - budget.agreement)
            return self.sqnr_db >= budget.sqnr_db + _FAR_DB and inside
        return self.drop + _SURELY * self.spread <= _FAR_SHARE * budget.drop


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate is inside the budget, and why.

    ``drop`` is what it should lose; ``spent`` how much of the budget that is, at most 1 inside.
    """

    passed: bool
    reason: str
    drop: float | None
    spent: float = math.inf


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
    passed = lost + judgement.sure * error <= allowed and judgement.drop <= allowed
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
    spent = max(
        _share(max(lost + judgement.sure * error, judgement.drop), budget.drop),
        noise_over(judgement.unlabelled_db, budget),
    )
    return Verdict(passed, reason, max(lost, judgement.drop), spent)


def is_outside(judgement: Judgement, evidence: Sequence[Judgement], budget: Budget) -> bool:
    """Whether part of the data already says that all of them will refuse the candidate.

    By itself, or by what the ``evidence`` (others, on all of the data) lost for their noise.
    """
    if judgement.problem is not None or judgement.unlabelled_db < budget.sqnr_db - _OUTSIDE_DB:
        return True
    if judgement.drop is None:
        if judgement.sqnr_db < budget.sqnr_db - _OUTSIDE_DB:
            return True
        agreement = 1.0 if judgement.agreement is None else judgement.agreement
        return agreement + _SURELY * _error_of(agreement, judgement.samples) < budget.agreement
    if judgement.drop - _SURELY * judgement.spread > budget.drop:
        return True
    lost, error = _expected_drop(judgement, evidence)
    return lost - _SURELY * error > budget.drop


def _error_of(agreement: float, samples: int) -> float:
    """Standard error of an agreement over so many samples."""
    return math.sqrt(agreement * (1 - agreement) / samples)


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
    passed, spent = sqnr >= budget.sqnr_db, noise_over(sqnr, budget)
    if agreement is not None:
        error = _error_of(agreement, judgement.samples)
        passed = passed and agreement - judgement.sure * error >= budget.agreement - 1e-9
        spent = max(spent, _share(1 - agreement + judgement.sure * error, 1 - budget.agreement))
        parts.append(f"agreement {agreement:.2%} ± {error:.2%}, at least {budget.agreement:.2%}")
    return Verdict(passed, f"{' and '.join(parts)} on data held out", None, spent)


def _share(spent: float, allowed: float) -> float:
    if spent <= 0:
        return 0.0
    return spent / allowed if allowed > 0 else math.inf


def noise_over(decibels: float, budget: Budget) -> float:
    """Power of the noise over that which the floor allows."""
    return float(10 ** ((budget.sqnr_db - decibels) / 10))
