"""A plan says how many units of each group stay; which ones, the rankings say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.branches import drop_branch
from converter.pruning.groups.removal import remove_channels
from converter.pruning.groups.selection import Selection
from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.refit import FULL, Effort, repair
from converter.pruning.repair.sums import Problem

Plan = Mapping[str, int]
"""Open units that stay, by the name of a group's ranking; a group that is not in it stays whole.

None stay of the group that stands for a residual branch where the branch goes.
"""


PlanKey = tuple[tuple[str, int], ...]
"""A plan that can be looked up."""


def key_of(plan: Plan) -> PlanKey:
    """The same for plans that leave the same, in whatever order they say so."""
    return tuple(sorted(plan.items()))


def select(problem: Problem, rankings: Sequence[GroupRanking], plan: Plan) -> Selection:
    """What stays when the units that matter least have gone from each group.

    Where none stay of a group that stands for a residual branch, all inside of the branch goes.
    No axis is left empty: of one that would be, the unit that matters most stays.
    """
    kept = problem.dependencies.everything()
    for ranking in rankings:
        stays = plan.get(ranking.name, len(ranking.units))
        kept = kept.without(ranking.units[: max(0, len(ranking.units) - stays)])
    kept = fill_empty(problem, rankings, kept)
    for branch in problem.branches:
        if plan.get(branch.name) == 0:
            kept = kept.without(branch.units)
    return kept


def fill_empty(problem: Problem, rankings: Sequence[GroupRanking], kept: Selection) -> Selection:
    """The selection in which every axis has something, by how much the units matter."""
    if problem.dependencies.leaves_something(kept):
        return kept
    place = [np.linspace(0, 1, len(ranking.units)) for ranking in rankings]
    units = np.concatenate([ranking.units for ranking in rankings])
    order = np.argsort(-np.concatenate(place), kind="stable")
    return problem.dependencies.fill_empty(kept, units[order])


def leaves_something(problem: Problem, kept: Selection) -> bool:
    """Whether every axis keeps a channel, those apart that go with a residual branch."""
    units = kept.units.copy()
    for branch in problem.branches:
        if branch.is_gone(kept):
            units[branch.units] = True
    return problem.dependencies.leaves_something(Selection(kept.partition, units))


def cut(problem: Problem, kept: Selection) -> ir.Model:
    """A copy of the reference with only what is ``kept``, not repaired."""
    model = problem.reference.clone()
    gone = [branch for branch in problem.branches if branch.is_gone(kept)]
    for branch in gone:
        drop_branch(model, branch)
    dependencies = problem.dependencies.of_what_is_left(model) if gone else problem.dependencies
    remove_channels(model, dependencies, kept)
    return model


def cut_and_repair(problem: Problem, kept: Selection, effort: Effort = FULL) -> ir.Model:
    """A copy of the reference with only what is ``kept``, refitted to do without the rest.

    In one go: rounds of cutting and refitting were tried, and hand their errors on.
    """
    model = cut(problem, kept)
    repair(problem, model, kept, effort)
    return model
