"""Refitting what is left: ridge regression of each layer on what the whole model computed.

From input to output, on the activations of the pruned and already repaired model, so that no
error is handed on that a later layer can make up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.regression.normal_equations import choose_damping
from converter.pruning.repair.sums import LayerSums, Problem, walk_layers
from converter.pruning.repair.walk import Walk


@dataclass(frozen=True)
class Effort:
    """How much data a refit looks at, and how strongly it may be drawn to what is there.

    ``rows_per_column`` rows for each column are drawn, but ``least_rows`` at least and
    ``most_rows`` at most.
    """

    least_rows: int = 16384
    rows_per_column: int = 32
    most_rows: int = 32768
    dampings: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

    def rows(self, columns: int) -> int:
        """Number of rows to draw for a layer of so many columns."""
        wanted = max(self.least_rows, self.rows_per_column * columns)
        return min(wanted, max(self.most_rows, 2 * columns))


FULL = Effort()
JUDGED = Effort(4096, 8, 8192)
"""Enough to judge by: within a few tenths of a decibel of what ``FULL`` reaches."""
QUICK = Effort(1024, 1, 8192, dampings=(1e-1,))
"""Enough to tell which group matters more; with so few rows the strong damping is the best one."""


def repair(
    problem: Problem,
    pruned: ir.Model,
    kept: Selection,
    effort: Effort = FULL,
    shared: Walk | None = None,
) -> None:
    """Refit every layer of ``pruned`` that sees other inputs, or should give others, in place.

    ``pruned`` is the reference of ``problem`` cut down to ``kept``, with any weights: those of
    the moment are what the ridge draws towards. How much it draws is chosen for each layer: what is
    fitted on one half of the data has to explain the other half. ``shared``: a walk over the
    reference that has come to the first change, or less far.
    """
    touched, _ = _touched(problem.reference, problem.dependencies, kept)
    touched |= _renamed(problem.reference, pruned)
    layers = walk_layers(
        problem,
        pruned,
        kept,
        rows=effort.rows,
        wanted=lambda node: str(node.name) in touched,
        shared=shared,
    )
    for sums in layers:
        _refit(sums, effort.dampings)


def _refit(sums: LayerSums, dampings: Sequence[float]) -> None:
    layer = sums.layer
    prior = layer.weights()
    (damping, *others) = dampings
    if others:
        damping = choose_damping(*sums.halves, prior, dampings, centred=layer.takes_bias)
    total = sums.total()
    weights = total.solve(prior, damping, centred=layer.takes_bias)
    layer.write(weights, total.bias(weights) if layer.takes_bias else None)


def _renamed(model: ir.Model, pruned: ir.Model) -> set[str]:
    """Names of the nodes whose result is another one now that a branch has gone.

    Those before them count too: a layer's result may be something that is added to it.
    """
    before = {str(node.name): [value.name for value in node.outputs] for node in model.graph}
    names: set[str] = set()
    for node in pruned.graph:
        if [value.name for value in node.outputs] != before.get(str(node.name)):
            makers = [value.producer() for value in node.inputs if value is not None]
            names |= {str(one.name) for one in (node, *makers) if one is not None}
    return names


def first_change(problem: Problem, pruned: ir.Model, kept: Selection) -> str:
    """Name of the first node of ``pruned`` that does not do what it does in the reference."""
    nodes, values = _touched(problem.reference, problem.dependencies, kept)
    nodes |= _renamed(problem.reference, pruned)
    for node in pruned.graph:
        names = {str(value.name) for value in (*node.inputs, *node.outputs) if value is not None}
        if str(node.name) in nodes or names & values:
            return str(node.name)
    return str(pruned.graph[-1].name)


def _touched(
    model: ir.Model, dependencies: Dependencies, kept: Selection
) -> tuple[set[str], set[str]]:
    """Names of the nodes whose inputs change when the others have gone, and of what changes."""
    changed: set[str] = set()
    nodes = {
        use.node for use in dependencies.uses if use.reads and not kept.mask(use.channels).all()
    }
    for node in model.graph:
        names = [str(value.name) for value in node.inputs if value is not None]
        if any(name in changed for name in names):
            nodes.add(str(node.name))
            changed.update(str(value.name) for value in node.outputs)
        for value in node.outputs:
            axes = dependencies.axes.get(str(value.name), ())
            if any(channels is not None and not kept.mask(channels).all() for channels in axes):
                changed.add(str(value.name))
    return nodes, changed
