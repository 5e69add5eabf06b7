"""The search for the smallest plan that training recovers.

First short trainings halve a chain of plans, to find out about where it ends; none of their answers
is final. From there on plans are trained in rounds, for as long as it takes or as there is hope,
and the search goes on between the smallest one that passed and the largest one that did not, until
they are close. A plan depends on what it leaves alone, not on the way to it. The one that is taken
gets another round, so that what ships is better than what was judged good enough.
"""

from __future__ import annotations

import math
from contextlib import suppress

from converter.pruning.evidence import accepted, spent
from converter.pruning.prepare import PruneOptions
from converter.pruning.search.bracket import NEAR
from converter.pruning.search.chain import SMALLEST_STEP, WHOLE, Link
from converter.pruning.search.plan import PlanKey, key_of
from converter.pruning.trials import Trial, Trials
from quantizers.training.distill import TrainingStopped

# What the next plan leaves where all have passed so far, or all have failed.
_STEP = 0.7
# What is taken has had so many rounds, before another one.
_LEAST_ROUNDS = 2
# How many plans are trained to the end, where the smaller ones turn out to be outside.
_MOST_FINISHED = 2
# How many plans are trained in full, and how many where none of them passes.
_MOST, _MOST_WITHOUT = 5, 3
# Up to how much of the budget a plan may take before the next round, by rounds that it had: the
# longer it was trained, the less another one changes.
_HOPE = (math.inf, 5.0, 2.0, 1.5)


class Search:
    """Looks for the smallest plan; all that were tried are ``tried``."""

    def __init__(self, trials: Trials, options: PruneOptions) -> None:
        self._trials, self._resource = trials, options.target.resource
        self._least = options.target.share
        trials.progress("measuring the influence of channels")
        self._cuts = trials.prepared.cuts
        self._links: list[Link] = []
        self._latest: dict[PlanKey, Trial] = {}
        self._finished: set[PlanKey] = set()
        self.tried: list[Trial] = []

    def run(self) -> list[Trial]:
        """All that may be taken, the smallest first, until the user has enough."""
        with suppress(TrainingStopped):
            self._search()
        return self.best()

    def best(self) -> list[Trial]:
        """The plans that pass and likely will elsewhere; if there are none, those that pass."""
        passed = [one for one in self.tried if one.judged.passed]
        sure = passed if self._least else [one for one in passed if self._is_of_accepted(one)]
        if sure:
            return sorted(sure, key=lambda one: one.rank)
        return sorted(passed, key=lambda one: (-one.report.share, -sum(one.rounds)))

    def _search(self) -> None:
        self._trials.progress("measuring what cuts save")
        self._links = list(self._cuts.chain(self._resource, self._least))
        if not self._links:
            return
        if self._least:  # no further than what is asked for
            self._towards()
            return
        start = self._halved()
        share = self._links[start].share if start >= 0 else math.sqrt(self._links[0].share)
        self._close_in(share)
        self._finish()

    def _finish(self) -> None:
        """Train the smallest plan that passes once more, or the next one if that is not enough."""
        for _ in range(_MOST_FINISHED):
            smaller = [one for one in self._passed() if self._is_hopeful(one)]
            if not smaller:
                return
            trial = smaller[0]
            while len(trial.rounds) < _LEAST_ROUNDS:
                trial = self._tell(self._trials.further(trial))
            trial = self._tell(self._trials.further(trial, extra=True))
            self._finished.add(key_of(trial.link.plan))
            if trial.judged.passed and self._is_of_accepted(trial):
                return

    def _is_of_accepted(self, trial: Trial) -> bool:
        """Whether it or the same plan after less training is accepted.

        Which of them has fewer errors on the few samples that judge is chance: that it was trained
        for longer is none.
        """
        plan, rounds = key_of(trial.link.plan), len(trial.rounds)
        return any(
            accepted(one, self.tried)
            for one in self.tried
            if key_of(one.link.plan) == plan and len(one.rounds) <= rounds
        )

    def _passed(self) -> list[Trial]:
        """The latest trial of each plan that is not finished, if it passes, the smallest first."""
        passed = [
            one
            for key, one in self._latest.items()
            if one.judged.passed and key not in self._finished
        ]
        return sorted(passed, key=lambda one: one.rank)

    def _towards(self) -> None:
        """What is asked for, and ever less where that does not pass."""
        for link in reversed(self._links):
            trial = self._trials.cut(link)
            for _ in self._trials.recovery.rounds_of(trial.report.macs):
                trial = self._trials.further(trial)
            if self._tell(trial).judged.passed:
                break

    def _halved(self) -> int:
        """The place of the last link that a short training leaves some hope for; -1: none."""
        low, high = -1, len(self._links)
        while high - low > 1:
            middle = (low + high) // 2
            trial = self._tell(self._trials.cut(self._links[middle]))
            if not trial.judged.passed:
                trial = self._tell(self._trials.further(trial))
            hopeful = trial.judged.passed or (
                trial.judged.spent is not None and self._is_hopeful(trial)
            )
            low, high = (middle, high) if hopeful else (low, middle)
        return low

    def _close_in(self, share: float) -> None:
        """Train plans in full, between the smallest that passed and the largest that did not."""
        passed, refused = 1.0, 0.0
        for number in range(_MOST):
            link = self._leaving(share)
            while refused and link.share <= refused and share < SMALLEST_STEP * passed:
                share = math.sqrt(share * passed)  # channels go in blocks
                link = self._leaving(share)
            if not refused < link.share < passed:
                return
            if self._holds(link):
                passed = link.share
            else:
                refused = link.share
            share = math.sqrt(passed * refused) if refused and passed < 1.0 else passed * _STEP
            if passed == 1.0:
                if number + 1 >= _MOST_WITHOUT:
                    return
                share = min(refused / _STEP, math.sqrt(refused))
            elif refused > NEAR * passed:
                return

    def _leaving(self, share: float) -> Link:
        """The plan that leaves ``share``: behind the last link that leaves more."""
        milder = next((one for one in reversed(self._links) if one.share >= share * 0.999), WHOLE)
        wanted = share / milder.share
        if wanted > SMALLEST_STEP:
            return milder
        found = self._cuts.behind(milder.plan, wanted, self._resource)
        return milder if found is None else Link(found[0], milder.share * found[1])

    def _holds(self, link: Link) -> bool:
        """Whether the plan is inside the budget, after as many rounds as it takes."""
        trial = self._latest.get(key_of(link.plan)) or self._tell(self._trials.cut(link))
        while True:
            if accepted(trial, self.tried):
                return True
            rounds = self._trials.recovery.rounds_of(trial.report.macs)
            if len(trial.rounds) >= len(rounds) or not self._is_hopeful(trial):
                return False
            trial = self._tell(self._trials.further(trial))

    def _is_hopeful(self, trial: Trial) -> bool:
        """Whether another round may bring it into the budget, by the better of both answers."""
        found = spent(trial, self.tried)
        if found is None or trial.judged.spent is None:
            return True
        most = _HOPE[min(len(trial.rounds), len(_HOPE) - 1)]
        return min(found, trial.judged.spent) <= most

    def _tell(self, trial: Trial) -> Trial:
        self.tried.append(trial)
        self._latest[key_of(trial.link.plan)] = trial
        return trial
