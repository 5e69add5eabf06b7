"""The plans that a search has tried, and which of them is best by all that is known now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from converter.pruning.search.cost import Cost
from converter.pruning.search.folds import Trial
from converter.pruning.search.objective import Judgement, Verdict, decide, is_outside
from converter.pruning.search.plan import Plan
from runtimes.parity.budget import Budget

# The table tells latencies apart by this much: of plans that are as fast, the smallest is taken.
_AS_FAST = 1.02


@dataclass(frozen=True)
class Tried:
    """A plan that was tried: what it leaves of the cost, and how it was judged."""

    plan: Plan
    cost: Cost
    share: float
    judgement: Judgement
    verdict: Verdict


@dataclass(eq=False)
class Attempt:
    """A plan as far as it has been judged; ``share`` is what it leaves of the cost.

    ``trial`` can be judged by further parts of the data: one that was far inside the budget on the
    first is, before it is taken. ``outside``: what was asked said no so clearly that no more was.
    """

    plan: Plan
    cost: Cost
    share: float
    trial: Trial
    outside: bool = False

    @property
    def judgement(self) -> Judgement:
        """By what was asked so far."""
        return self.trial.judgement

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is to be asked."""
        return self.outside or self.trial.is_complete


class Attempts:
    """All that were tried, the first one first; ``budget`` is what they may lose."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._tried: list[Attempt] = []

    def __len__(self) -> int:
        """How many."""
        return len(self._tried)

    def __iter__(self) -> Iterator[Attempt]:
        """One after another."""
        return iter(self._tried)

    def add(self, attempt: Attempt, *, briefly: bool = False) -> None:
        """Judge one more; what was found is evidence for the others from then on.

        ``briefly``: by the first part of the data alone, where that says that more can go.
        """
        if not (briefly and attempt.judgement.is_far_inside(self._budget)):
            self._ask_all(attempt)
        self._tried.append(attempt)

    def verdict(self, attempt: Attempt, budget: Budget | None = None) -> Verdict:
        """The verdict by all the evidence that there is now, under another ``budget`` if given."""
        own = attempt.judgement
        others = self._evidence() if attempt.is_complete else []
        evidence = [own, *(one for one in others if one is not own)]
        verdict = decide(own, evidence, budget or self._budget)
        return replace(verdict, passed=verdict.passed and not attempt.outside)

    def best(self, budget: Budget | None = None) -> Attempt | None:
        """The cheapest plan that is inside the budget, by all parts of the data.

        Of those that are as fast by what the table can tell, the one with fewest parameters.
        """
        while True:
            inside = [one for one in self._tried if self.verdict(one, budget).passed]
            least = min((one.share for one in inside), default=0.0) * _AS_FAST
            as_cheap = [one for one in inside if one.share <= least]
            best = min(as_cheap, key=lambda one: (one.cost.parameters, one.share), default=None)
            if best is None or best.is_complete:
                return best
            self._ask_all(best)

    def tried(self) -> tuple[Tried, ...]:
        """What a report says of them."""
        return tuple(
            Tried(one.plan, one.cost, one.share, one.judgement, self.verdict(one))
            for one in self._tried
        )

    def _ask_all(self, attempt: Attempt) -> None:
        """Judge by all parts of the data, or by as many as say no for certain."""
        others = self._evidence()
        while not is_outside(attempt.judgement, others, self._budget):
            if attempt.trial.is_complete:
                return
            attempt.trial.go_on()
        attempt.outside = True

    def _evidence(self) -> list[Judgement]:
        """What was judged by all parts of the data, and is near enough to learn from."""
        complete = [one.judgement for one in self._tried if one.trial.is_complete]
        return [one for one in complete if not one.is_hopeless(self._budget)]
