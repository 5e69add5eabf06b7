"""Pruning to a target without a budget, for what is trained afterwards."""

from __future__ import annotations

import onnx_ir as ir

from converter.pruning.model import selected
from converter.pruning.prepare import Nothing, PruneOptions, prepare
from converter.pruning.search.plan import cut_and_repair
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
    target = options.target
    links = list(prepared.cuts.chain(target.resource, target.share))
    share = links[-1].share if links else 1.0
    if share > target.share * _NEAR:
        raise DataError(
            f"the model can be pruned to {share:.1%} of its {target.resource} at most, and not to "
            f"{target.share:.1%}; ask for less"
        )
    return cut_and_repair(prepared.problem, selected(prepared, links[-1].plan))
