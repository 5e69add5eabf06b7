"""Ranking the units of every group of a model, from one walk over the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from converter.pruning.groups.selection import Dependencies, Group
from converter.pruning.operators.channels import IntArray
from converter.pruning.ranking.importance import Reader, at_random, by_weight_norm, second_order
from converter.pruning.regression import LinearLayer
from converter.pruning.regression.normal_equations import Float64, NormalEquations
from converter.pruning.repair.sums import Problem, find_use, walk_inputs
from runtimes.onnx_graph.values import constant

Importance = Literal["second-order", "weight-norm", "random"]

# Of the mean variance of a layer's inputs: inputs that hardly vary make no inverse explode.
_DAMPING = 1e-3


@dataclass(frozen=True)
class GroupRanking:
    """Which units of a group go first.

    ``units`` are the numbers of the open units in the order in which to remove them; ``costs``
    as in ``Ranking``.
    """

    group: Group
    units: IntArray
    costs: Float64

    @property
    def name(self) -> str:
        """Name of the node that makes the group's first channels: no two groups share it."""
        return self.group.makers[0]


def rank_groups(
    problem: Problem, importance: Importance = "second-order"
) -> tuple[GroupRanking, ...]:
    """Rank the units of each group of the problem's reference that may lose any.

    A group that no layer reads whose inputs can be seen as a regression is ranked by the norm
    of its weights, whatever ``importance`` is asked for.
    """
    groups = [group for group in problem.dependencies.groups if group.is_open]
    rankings: dict[str, GroupRanking] = {}
    if importance == "second-order":
        for chunk in _chunks(problem, groups):
            rankings.update(_by_second_order(problem, chunk))
    result = []
    for number, group in enumerate(groups):
        if group.makers[0] in rankings:
            result.append(rankings[group.makers[0]])
            continue
        if importance == "random":
            found = at_random(len(group.units), problem.seed + number)
        else:
            found = by_weight_norm(_norms(problem, group)[group.units])
        result.append(GroupRanking(group, group.units[found.order], found.costs))
    return tuple(result)


def _chunks(problem: Problem, groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Split the groups so that the matrices of the layers that read a part fit in memory."""
    sizes: dict[str, int] = {}
    for node in problem.reference.graph:
        for value in node.inputs[1:3]:
            array = constant(value)
            if array is not None and array.ndim > 1:
                columns = array.size // max(1, min(array.shape[:2]))
                sizes[str(node.name)] = max(sizes.get(str(node.name), 0), 8 * columns**2)
    chunk: list[Group] = []
    held = 0
    readers = _readers_of(problem.dependencies, groups)
    for group in groups:
        size = sum(sizes.get(name, 0) for name in readers[group.makers[0]])
        if chunk and held + size > problem.options.memory_bytes:
            yield chunk
            chunk, held = [], 0
        chunk.append(group)
        held += size
    if chunk:
        yield chunk


def _readers_of(
    dependencies: Dependencies, groups: Sequence[Group]
) -> Mapping[str, dict[str, None]]:
    """By a group's first maker, the names of the nodes that read some unit of it."""
    owner = np.full(dependencies.partition.units, -1)
    for number, group in enumerate(groups):
        owner[group.units] = number
    readers: dict[str, dict[str, None]] = defaultdict(dict)
    for use in dependencies.uses:
        if use.reads:
            for number in np.unique(owner[dependencies.partition.unit_of[use.channels]]):
                if number >= 0:
                    readers[groups[number].makers[0]][use.node] = None
    return readers


def _by_second_order(problem: Problem, groups: Sequence[Group]) -> Mapping[str, GroupRanking]:
    readers: dict[str, list[Reader]] = defaultdict(list)
    nodes = {name for names in _readers_of(problem.dependencies, groups).values() for name in names}
    layers = walk_inputs(
        problem,
        rows=lambda columns: max(4096, 4 * columns),
        wanted=lambda node: str(node.name) in nodes,
    )
    for layer, sums in layers:
        for number, reader in _readers(problem.dependencies, layer, sums, groups):
            readers[groups[number].makers[0]].append(reader)
    rankings = {}
    for group in groups:
        if readers[group.makers[0]]:
            found = second_order(readers.pop(group.makers[0]), len(group.units))
            rankings[group.makers[0]] = GroupRanking(group, group.units[found.order], found.costs)
    return rankings


def _readers(
    dependencies: Dependencies,
    layer: LinearLayer,
    inputs: NormalEquations,
    groups: Sequence[Group],
) -> Iterator[tuple[int, Reader]]:
    """For each group that a layer reads, its number and the layer as its reader.

    The layer makes X·W + b of its ``inputs`` X, so W is what explains its results best.
    """
    use = find_use(dependencies, layer, layer.columns_axis)
    if use is None or not use.reads:
        return
    unit = np.repeat(dependencies.partition.unit_of[use.channels], layer.fan)
    every = layer.weights()
    scale = 1.0 / max(inputs.variance_through(every), np.finfo(np.float64).tiny)
    own, _ = inputs.covariance(centred=layer.takes_bias)
    for block, weights in zip(own, every, strict=True):
        ridge = _DAMPING * np.trace(block) / len(block) + np.finfo(np.float64).tiny
        inverse = np.linalg.inv(block + ridge * np.eye(len(block)))
        for number, group in enumerate(groups):
            place = np.full(dependencies.partition.units, -1)
            place[group.units] = np.arange(len(group.units))
            if (place[unit] >= 0).any():
                yield number, Reader(inverse, weights, place[unit], scale)


def _norms(problem: Problem, group: Group) -> Float64:
    """Norm of the weights that make each unit, ``[units of the model]``, layers weighing alike."""
    nodes = {str(node.name): node for node in problem.reference.graph}
    partition = problem.dependencies.partition
    squares = np.zeros(partition.units)
    for use in problem.dependencies.uses:
        array = constant(nodes[use.node].inputs[use.input])
        if use.reads or array is None or array.ndim < 2 or use.node not in group.makers:
            continue
        along = np.moveaxis(array.astype(np.float64), use.axis, 0).reshape(len(use.channels), -1)
        norms = (along**2).sum(axis=1)
        total = max(float(norms.sum()), np.finfo(np.float64).tiny)
        np.add.at(squares, partition.unit_of[use.channels], norms / total)
    return np.sqrt(squares)
