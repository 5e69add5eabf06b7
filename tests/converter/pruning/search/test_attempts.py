"""Which of the plans that were tried is best, and how much of the data each was judged by."""

from __future__ import annotations

from typing import Any

from converter.pruning.search.attempts import Attempt, Attempts
from converter.pruning.search.cost import Cost
from converter.pruning.search.objective import Judgement
from runtimes.parity.budget import Budget

BUDGET = Budget("top1", 0.01, 0.99, 20.0)
PARTS = 4


class Asked:
    """Stands for a trial whose parts all lose the same share of 500 samples each."""

    def __init__(self, lost: float, noise_db: float = 20.0) -> None:
        self._lost, self._noise_db = lost, noise_db
        self.parts = 1

    @property
    def judgement(self) -> Judgement:
        samples = 500 * self.parts
        wrong = round(self._lost * samples)
        drops = (1.0,) * wrong + (0.0,) * (samples - wrong)
        return Judgement(samples, wrong / samples, drops, None, self._noise_db)

    @property
    def is_complete(self) -> bool:
        return self.parts == PARTS

    def go_on(self) -> None:
        self.parts += 1


def attempt(trial: Any, share: float, parameters: int = 100) -> Attempt:
    return Attempt({"layer": parameters}, Cost(1, parameters), share, trial)


def test_the_cheapest_that_is_inside() -> None:
    tried = Attempts(BUDGET)
    for lost, share in ((0.0, 0.6), (0.002, 0.4), (0.05, 0.2)):
        tried.add(attempt(Asked(lost), share))
    best = tried.best()
    assert best is not None
    assert best.share == 0.4
    assert [one.verdict.passed for one in tried.tried()] == [True, True, False]


def test_of_those_that_are_as_fast_the_smallest() -> None:
    tried = Attempts(BUDGET)
    for share, parameters in ((0.4, 90), (0.404, 50), (0.42, 10)):
        tried.add(attempt(Asked(0.0), share, parameters))
    best = tried.best()
    assert best is not None
    assert best.cost.parameters == 50


def test_what_is_far_inside_is_judged_whole_before_it_is_taken() -> None:
    tried, first, second = Attempts(BUDGET), Asked(0.0), Asked(0.0)
    tried.add(attempt(first, 0.6), briefly=True)
    tried.add(attempt(second, 0.4), briefly=True)
    assert (first.parts, second.parts) == (1, 1)
    best = tried.best()
    assert best is not None
    assert best.trial is second
    assert (first.parts, second.parts) == (1, PARTS)


def test_no_more_is_asked_of_what_is_outside_for_certain() -> None:
    tried, bad = Attempts(BUDGET), Asked(0.2)
    tried.add(attempt(bad, 0.4))
    assert bad.parts == 1
    assert tried.best() is None


def test_the_noise_of_others_tells_what_a_plan_will_lose() -> None:
    tried = Attempts(BUDGET)
    for _ in range(3):
        tried.add(attempt(Asked(0.006, noise_db=20.0), 0.6))
    noisy = Asked(0.006, noise_db=14.0)  # four times the noise: by luck it loses no more so far
    tried.add(attempt(noisy, 0.4))
    assert noisy.parts < PARTS
    best = tried.best()
    assert best is not None
    assert best.share == 0.6


def test_another_budget_has_another_best() -> None:
    tried = Attempts(BUDGET)
    tried.add(attempt(Asked(0.001, noise_db=30.0), 0.6))
    tried.add(attempt(Asked(0.007), 0.4))
    shares = [
        best.share
        for budget in (BUDGET, Budget("top1", 0.003, 0.99, 20.0))
        if (best := tried.best(budget)) is not None
    ]
    assert shares == [0.4, 0.6]
