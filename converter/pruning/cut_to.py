"""Pruning to a target without a budget, for what is trained afterwards."""

from __future__ import annotations

import onnx_ir as ir

from converter.pruning.model import selected
from converter.pruning.prepare import Nothing, PruneOptions, prepare
from converter.pruning.search.chain import chain
from converter.pruning.search.plan import cut_and_repair
from converter.pruning.search.savings import Savings
from converter.pruning.search.sensitivity import measure_influence
from runtimes.costs import open_costs
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.progress import Progress, silent

# How far above the target a plan may stay: channels are whole.
_NEAR = 1.05


def cut_to(
    model: ir.Model, data: Dataset, options: PruneOptions, *, progress: Progress = silent
) -> ir.Model:
    """``model`` (optimized, float) with only what ``options.target`` leaves of it, refitted.

    ``data``, bound to its inputs, need no labels. Raises ``DataError`` where the target cannot be
    reached.
    """
    prepared = prepare(model, data, options, progress)
    if isinstance(prepared, Nothing):
        raise DataError(f"the model cannot be pruned: {prepared.report.reason}")
    problem, rankings, target = prepared.problem, prepared.rankings, options.target
    table = options.costs or open_costs(threads=options.threads)
    savings = Savings(problem, rankings, prepared.costs, target, table)
    influence = measure_influence(problem, rankings)
    links = list(chain(problem, rankings, savings, influence, target.resource, target.share))
    share = links[-1].share if links else 1.0
    if share > target.share * _NEAR:
        raise DataError(
            f"the model can be pruned to {share:.1%} of its {target.resource} at most, and not to "
            f"{target.share:.1%}; ask for less"
        )
    return cut_and_repair(problem, selected(prepared, links[-1].plan))
