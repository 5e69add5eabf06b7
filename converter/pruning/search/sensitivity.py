"""What each cut of a group would save and what it would do to the model's outputs, measured.

The influence of a group on the outputs is measured once, with a quarter of its units gone and
the rest repaired; how it grows from there follows the costs of the ranking. What is saved is
counted (multiply-adds, parameters) or timed on this machine, in the whole model, because
fusions and blocked layouts make the time of a layer a matter of its neighbours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.selection import Selection
from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.refit import QUICK
from converter.pruning.repair.sums import Problem
from converter.pruning.search.allocation import Cut
from converter.pruning.search.cost import CostModel
from converter.pruning.search.plan import Plan, cut_and_repair, fill_empty, select
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import as_taken, fixed_batch, run_padded
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files.load_save import model_inputs

# Cuts that a group offers a step, and all groups together: each is timed.
_LEVELS = 6
_MOST_CANDIDATES = 120
# Of a group, in one step: how the error grows beyond is not known well enough.
_DEEPEST = 0.5
# The error of a cut is an average over many rows of each sample: more hardly move it.
_INFLUENCE_SAMPLES = 128
# Stands for nothing at all, so that what costs no error still has a rank.
_LEAST = 1e-9
# However long one takes: the fastest of fewer is chance.
_LEAST_RUNS = 5

Ratio = Callable[[Selection], float]
"""What a selection leaves of a model's cost, 0 … 1."""


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
    first, second = problem.data.split(0.5, problem.seed)
    small = replace(problem, data=some(first, _INFLUENCE_SAMPLES))
    error = _OutputError(problem, some(second, _INFLUENCE_SAMPLES))
    everything = problem.dependencies.everything()
    by_cost, branches = {}, {}
    for ranking in rankings:
        count = max(1, len(ranking.units) // 4)
        kept = fill_empty(problem, rankings, everything.without(ranking.units[:count]))
        added = error.of(cut_and_repair(small, kept, QUICK))
        by_cost[ranking.name] = max(added, _LEAST) / max(float(ranking.costs[count - 1]), _LEAST)
    for branch in problem.branches:
        added = error.of(cut_and_repair(small, everything.without(branch.units), QUICK))
        branches[branch.name] = max(added, _LEAST)
    return Influence(by_cost, branches)


class _OutputError:
    """Mean squared error of the outputs relative to their variance, on all samples of ``data``."""

    def __init__(self, problem: Problem, data: Dataset) -> None:
        self._data, self._threads = data, problem.options.threads
        self._expected = self._run(problem.reference)
        self._scale = {
            name: max(float(np.var(np.concatenate(arrays), axis=0).sum()), 1e-30)
            for name, arrays in self._expected.items()
        }

    def of(self, model: ir.Model) -> float:
        """The error of ``model``, summed over its outputs."""
        total = 0.0
        for name, arrays in self._run(model).items():
            pairs = zip(arrays, self._expected[name], strict=True)
            squares = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
            total += squares / sum(len(array) for array in arrays) / self._scale[name]
        return total

    def _run(self, model: ir.Model) -> Mapping[str, list[Array]]:
        found: dict[str, list[Array]] = {}
        with OrtRuntime(model, threads=self._threads) as runtime:
            size = fixed_batch(model_inputs(model)) or 32
            for batch in self._data.batches(size):
                for name, array in run_padded(runtime, batch.feed).items():
                    if array.dtype.kind == "f" and array.ndim:
                        found.setdefault(name, []).append(array.astype(np.float64))
        return found


def some(data: Dataset, count: int, seed: int = 0) -> Dataset:
    """About ``count`` samples from all over the data: files are often sorted by class."""
    total = data.num_samples
    if total is None or total <= count:
        return data.take(count)
    return data.split(count / total, seed)[0]


def offered_cuts(
    problem: Problem,
    rankings: Sequence[GroupRanking],
    plan: Plan,
    influence: Influence,
    ratio: Ratio,
) -> list[list[Cut]]:
    """The further cuts that each ranked group offers, down to half of what ``plan`` leaves it.

    A group that stands for a residual branch also offers all it has left: then the branch goes.
    """
    kept = select(problem, rankings, plan)
    left = {ranking.name: int(kept.units[ranking.units].sum()) for ranking in rankings}
    spent = {
        ranking.name: influence.by_cost[ranking.name] * _cost(ranking, left[ranking.name])
        for ranking in rankings
    }
    branches = {branch.name: branch for branch in problem.branches}
    levels = max(1, min(_LEVELS, _MOST_CANDIDATES // max(1, len(rankings))))
    offers = []
    for ranking in rankings:
        name, now = ranking.name, left[ranking.name]
        cuts = [
            Cut(
                now - stays,
                ratio(select(problem, rankings, {**plan, name: stays})),
                influence.by_cost[name] * _cost(ranking, stays) - spent[name],
            )
            for stays in _offered(now, ranking.group.closed_units, levels)
        ]
        if name in influence.branches and now:
            inside = sum(spent[inner] for inner in branches[name].groups)
            error = max(influence.branches[name] - inside, _LEAST)
            cuts.append(Cut(now, ratio(select(problem, rankings, {**plan, name: 0})), error))
        offers.append(cuts)
    return offers


def _cost(ranking: GroupRanking, stays: int) -> float:
    gone = len(ranking.units) - stays
    return float(ranking.costs[gone - 1]) if gone else 0.0


def _offered(now: int, closed: int, levels: int) -> list[int]:
    """How many of ``now`` open units could stay: with the closed ones a round number.

    ONNX Runtime computes convolutions in blocks of 8 or 16 channels.
    """
    total = now + closed
    step = 8 if total >= 48 else 4 if total >= 24 else 2 if total >= 12 else 1
    lowest = max(1, closed, math.ceil(total * (1 - _DEEPEST)))
    stays = [n - closed for n in range(lowest, total) if n % step == 0]
    stays = [n for n in stays if n > 0]
    if len(stays) > levels:
        places = np.linspace(0, len(stays) - 1, levels).round().astype(int)
        stays = [stays[place] for place in places]
    return stays[::-1]


def counted_ratio(costs: CostModel, kept: Selection, what: Literal["macs", "parameters"]) -> Ratio:
    """The ratio of multiply-adds or parameters to those of ``kept``."""

    def count(selection: Selection) -> int:
        cost = costs.count(selection)
        return cost.macs if what == "macs" else cost.parameters

    now = max(1, count(kept))
    return lambda further: count(further) / now


class Stopwatch:
    """Times models against one that stays loaded, at batch 1.

    Both run in turns and the fastest run of each counts: what disturbs a run on a busy
    machine only makes it slower.
    """

    def __init__(self, model: ir.Model, data: Dataset, threads: int) -> None:
        self._threads = threads
        self._runtime = OrtRuntime(model, threads=threads)
        size = fixed_batch(self._runtime.inputs) or 1
        feed = next(iter(data.batches(1))).feed
        self._feed = as_taken(feed, self._runtime.inputs, size, self._runtime.name)
        self._run = self._runtime.prepare(self._feed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._runtime.close()

    def ratio(self, model: ir.Model, seconds: float) -> float:
        """The time of ``model`` as a share of that of the loaded one, timed for ``seconds``."""
        fastest = [math.inf, math.inf]
        with OrtRuntime(model, threads=self._threads) as runtime:
            calls = (self._run, runtime.prepare(self._feed))
            end, runs = time.perf_counter() + seconds, 0
            while runs < _LEAST_RUNS or time.perf_counter() < end:
                runs += 1
                for place, call in enumerate(calls):
                    start = time.perf_counter()
                    call()
                    fastest[place] = min(fastest[place], time.perf_counter() - start)
        return fastest[1] / fastest[0]
