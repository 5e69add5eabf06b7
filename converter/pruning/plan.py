"""A plan says how many units of each group stay; which ones, the rankings say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from converter.pruning.dependencies import Selection
from converter.pruning.ranking import GroupRanking
from converter.pruning.removal import remove_channels
from converter.pruning.repair import FULL, Effort, repair
from converter.pruning.sums import Problem

Plan = Mapping[str, int]
"""Open units that stay, by the name of a group's ranking; a group that is not in it stays whole."""


def select(problem: Problem, rankings: Sequence[GroupRanking], plan: Plan) -> Selection:
    """What stays when the units that matter least have gone from each group."""
    kept = problem.dependencies.everything()
    for ranking in rankings:
        stays = plan.get(ranking.name, len(ranking.units))
        kept = kept.without(ranking.units[: max(0, len(ranking.units) - stays)])
    return kept


def cut(problem: Problem, kept: Selection) -> ir.Model:
    """A copy of the reference with only what is ``kept``, not repaired."""
    model = problem.reference.clone()
    remove_channels(model, problem.dependencies, kept)
    return model


def cut_and_repair(problem: Problem, kept: Selection, effort: Effort = FULL) -> ir.Model:
    """A copy of the reference with only what is ``kept``, refitted to do without the rest.

    In one go: rounds of cutting and refitting were tried, and hand their errors on.
    """
    model = cut(problem, kept)
    repair(problem, model, kept, effort)
    return model
