"""How much of a budget a candidate takes, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from converter.pruning.search.objective import noise_over
from converter.pruning.trials import Judged
from runtimes.parity.budget import Budget
from runtimes.parity.report import ParityReport
from runtimes.parity.stress_report import RungParity
from runtimes.parity.verdict import that_agree, unlabelled


def judged(parity: ParityReport, budget: Budget) -> Judged:
    """The verdict, and which share of the budget the worst of what is judged takes.

    The deviation is that of a labelled metric: what is told by comparing outputs alone, such as
    SQNR, hardly depends on which samples they are.
    """
    found = [*_metrics(parity, budget), *_floors(parity, budget)]
    if not parity.passed and parity.stress is not None:
        found += [(_beyond_chance(rung), 0.0) for rung in parity.stress.rungs if not rung.passed]
    if not found:
        return Judged(parity.passed, parity.reason)
    spent, deviation = max(found)
    return Judged(parity.passed, parity.reason, spent, deviation)


def most_spent(parity: ParityReport, budget: Budget) -> float:
    """Which share of the budget the worst of what is judged takes, perturbed samples included.

    On those the budget is what chance explains as well.
    """
    found = [share for share, _ in (*_metrics(parity, budget), *_floors(parity, budget))]
    if parity.stress is not None:
        found += map(_with_chance, parity.stress.rungs)
    return max(found, default=0.0)


def _metrics(parity: ParityReport, budget: Budget) -> Iterator[tuple[float, float]]:
    rules = budget.rules()
    for one in parity.metrics:
        allowed = rules.allowed(one.name)
        if allowed is None:
            continue
        yield _ratio(one.drop, allowed), _ratio(one.deviation or 0.0, allowed)


def _floors(parity: ParityReport, budget: Budget) -> Iterator[tuple[float, float]]:
    outputs, metrics = parity.outputs, parity.metrics
    names = [one.output for one in outputs]
    judged_by = [one.output for one in metrics]
    left = unlabelled(names, judged_by) if metrics else names
    counting = that_agree(outputs)
    for one in outputs:
        if one.output not in left:
            continue
        if one.agreement is not None and one in counting:
            yield _ratio(1 - one.agreement, 1 - budget.agreement), 0.0
        if one.sqnr_db is not None:
            yield noise_over(one.sqnr_db, budget), 0.0


def _beyond_chance(rung: RungParity) -> float:
    """What a rung takes of the budget beyond what chance explains."""
    if rung.drop is None or rung.allowed is None:
        return _undropped(rung)
    return _ratio(rung.drop - rung.margin, rung.allowed)


def _with_chance(rung: RungParity) -> float:
    """What it takes of the budget and of what chance explains together."""
    if rung.drop is None or rung.allowed is None:
        return _undropped(rung)
    return 0.0 if math.isinf(rung.margin) else _ratio(rung.drop, rung.allowed + rung.margin)


def _undropped(rung: RungParity) -> float:
    """What a floor in dB takes, or one that could not be compared: nothing or all there is."""
    if rung.allowed is None or rung.candidate is None:
        return 0.0 if rung.passed else math.inf
    return float(10 ** ((rung.allowed - rung.margin - rung.candidate) / 10))


def _ratio(part: float, whole: float) -> float:
    if whole <= 0:
        return math.inf if part > 0 else 0.0
    return part / whole
