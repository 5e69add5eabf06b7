"""How much error of the model's outputs each group of channels makes, measured once.

A quarter of a group goes, everything behind is repaired, and the outputs are compared. Up to the
first node that the cut changes the model is the whole one, which runs to there once for all groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.selection import Selection
from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.refit import QUICK, first_change, repair
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.walk import Walk
from converter.pruning.search.plan import cut, fill_empty
from quantizers.calibration.statistics import spread
from runtimes.base import Array

# The error of a cut is an average over many rows of each sample: more hardly move it.
_SAMPLES = 96
# Stands for nothing at all, so that what costs no error still has a rank.
LEAST = 1e-9


@dataclass(frozen=True)
class Influence:
    """How much error of the outputs each group makes, by the ranking's name.

    ``by_cost``: for its cost in the ranking; ``branches``: when the residual branch goes that it
    stands for. Relative to the variance of the outputs.
    """

    by_cost: Mapping[str, float]
    branches: Mapping[str, float]


def measure_influence(problem: Problem, rankings: Sequence[GroupRanking]) -> Influence:
    """Measure the influence of each group and of each residual branch.

    A quarter of the units goes, then everything behind is repaired: what later layers can make
    up for does not count. Some samples are enough for that, and others for the error.
    """
    everything = problem.dependencies.everything()
    counts = {one.name: max(1, len(one.units) // 4) for one in rankings}
    quarters = [
        fill_empty(problem, rankings, everything.without(one.units[: counts[one.name]]))
        for one in rankings
    ]
    branches = [everything.without(one.units) for one in problem.branches]
    added = _errors(problem, [*quarters, *branches])
    return Influence(
        {
            one.name: error / max(float(one.costs[counts[one.name] - 1]), LEAST)
            for one, error in zip(rankings, added[: len(rankings)], strict=True)
        },
        {
            one.name: error
            for one, error in zip(problem.branches, added[len(rankings) :], strict=True)
        },
    )


def _errors(problem: Problem, selections: Sequence[Selection]) -> list[float]:
    """What each selection adds to the error of the outputs, repaired."""
    first, second = problem.data.split(0.5, problem.seed)
    small = replace(problem, data=spread(first, _SAMPLES))
    place = {str(node.name): place for place, node in enumerate(problem.reference.graph)}
    errors = [LEAST] * len(selections)
    with ExitStack() as stack:
        fitted = stack.enter_context(Walk(problem.reference, small.samples, problem.options))
        judged = stack.enter_context(
            Walk(problem.reference, spread(second, _SAMPLES), problem.options)
        )
        outputs = _OutputError(problem.reference, judged)
        cuts = [(kept, cut(problem, kept)) for kept in selections]
        starts = [first_change(problem, model, kept) for kept, model in cuts]
        for number in sorted(range(len(cuts)), key=lambda number: place[starts[number]]):
            kept, model = cuts[number]
            for walk in (fitted, judged):
                walk.advance(starts[number])
            repair(small, model, kept, QUICK, fitted)
            errors[number] = max(outputs.of(model, judged), LEAST)
    return errors


class _OutputError:
    """Mean squared error of the outputs relative to their variance, over a walk's samples."""

    def __init__(self, reference: ir.Model, walk: Walk) -> None:
        values = [value for value in reference.graph.outputs if value.producer() is not None]
        self._names = [str(value.name) for value in values]
        self._expected = self._run(reference, walk)
        self._scale = {
            name: max(float(np.var(np.concatenate(arrays), axis=0).sum()), 1e-30)
            for name, arrays in self._expected.items()
        }

    def of(self, model: ir.Model, walk: Walk) -> float:
        """The error of ``model``, over all outputs; ``walk`` has come to its first change."""
        total = 0.0
        for name, arrays in self._run(model, walk).items():
            pairs = zip(arrays, self._expected[name], strict=True)
            squares = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
            total += squares / sum(len(array) for array in arrays) / self._scale[name]
        return total

    def _run(self, model: ir.Model, walk: Walk) -> Mapping[str, list[Array]]:
        found: dict[str, list[Array]] = {}
        with walk.over(model) as tail:
            for batch in tail.batches(self._names):
                for name, array in batch.items():
                    if array.dtype.kind == "f" and array.ndim:
                        found.setdefault(name, []).append(array.astype(np.float64))
        return found
