"""Cross-validation of a selection: models cut alike, each fitted on part of the data.

Every one is judged on the part that it has not seen, and all together stand for the model that is
fitted on all of the data. A part costs a whole refit, so they are asked one by one.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from converter.pruning.groups.selection import Selection
from converter.pruning.repair.refit import JUDGED
from converter.pruning.repair.sums import Problem
from converter.pruning.search.judging import HeldOut, Judging
from converter.pruning.search.objective import SURE, Judgement
from converter.pruning.search.plan import cut_and_repair

# What is fitted on half of many samples is nearly as good as what is fitted on most of them, and
# two refits are half the work of four.
_MANY = 256
# All samples fit better than one half of them, by a fifth of the noise, which is part of the margin
# that a standard error gives; and what judges in the end, the search has not seen.
_SURE_BY_HALVES = 0.7


class Folds:
    """The parts of the data of ``problem``, each a problem of its own for all selections.

    So what the reference computes is shared between them. ``metric``: names with commas between.
    """

    def __init__(self, problem: Problem, metric: str | None) -> None:
        self._reference, self._metric = problem.reference, metric
        self._labels = problem.data.label_names
        self._sure = _SURE_BY_HALVES if _count(problem) == 2 else SURE
        self._parts = [
            (
                replace(problem, data=most),
                HeldOut(
                    problem.reference,
                    replace(problem, data=rest).judging,
                    problem.options.threads,
                ),
            )
            for most, rest in problem.data.folds(_count(problem), problem.seed)
        ]

    def clear(self) -> None:
        """Give back the memory of what selections share, which is computed again if need be."""
        for fitted, held_out in self._parts:
            fitted.reference_rows.clear()
            held_out.clear()

    def begin(self, kept: Selection) -> tuple[Trial, ir.Model]:
        """A trial of what is ``kept``, judged by the first part, and the model of that part."""
        judging = Judging(self._reference, self._metric, self._labels, self._sure)
        trial = Trial(kept, self._parts, judging)
        return trial, trial.go_on()


def _count(problem: Problem) -> int:
    return 2 if (problem.data.num_samples or 0) >= _MANY else 4


class Trial:
    """A selection as far as it has been judged: ``judgement`` is by the parts asked so far."""

    judgement: Judgement

    def __init__(
        self, kept: Selection, parts: list[tuple[Problem, HeldOut]], judging: Judging
    ) -> None:
        self._kept, self._parts, self._judging = kept, parts, judging
        self._done = 0

    def go_on(self) -> ir.Model:
        """Fit and judge by the next part; gives the model that was fitted."""
        fitted, held_out = self._parts[self._done]
        model = cut_and_repair(fitted, self._kept, JUDGED)
        self._judging.add(model, held_out)
        self.judgement = self._judging.result()
        self._done += 1
        return model

    @property
    def is_complete(self) -> bool:
        """Whether all parts of the data were asked."""
        return self._done == len(self._parts)
