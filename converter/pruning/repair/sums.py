"""Normal equations of every layer of a model that is being pruned, against the model it was.

Layer after layer from input to output: X is what the pruned and already repaired model gives
the layer, T what the whole model has at the layer's output. Where the output goes into an Add
whose other operand is final already, T is what is missing there, so that a residual branch
makes up for what the shortcut has lost (https://arxiv.org/abs/1707.06168, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.branches import Branch, find_branches
from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.rule import Use
from converter.pruning.regression import LinearLayer, linear_layers
from converter.pruning.regression.normal_equations import NormalEquations
from converter.pruning.repair.walk import Walk, WalkOptions
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.onnx_graph.values import is_constant, is_op, only_user

MOST_COLUMNS = 6000
"""A layer with more columns keeps its weights: XᵀX would not fit in memory."""


Rows = Callable[[int], int]
"""How many rows to look at for a layer of so many columns."""


@dataclass(frozen=True)
class Problem:
    """What repair and ranking work on.

    ``reference`` is the whole model, ``dependencies`` are its own; ``data`` is bound to its
    inputs. ``seed`` draws the rows that are looked at.
    """

    reference: ir.Model
    dependencies: Dependencies
    data: Dataset
    options: WalkOptions
    seed: int = 0

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches of the reference that may go as a whole."""
        return find_branches(self.reference, self.dependencies)


@dataclass(frozen=True)
class LayerSums:
    """One layer of the pruned model and its sums, over two halves of the batches."""

    layer: LinearLayer
    halves: tuple[NormalEquations, NormalEquations]

    def total(self) -> NormalEquations:
        """The sums over all rows."""
        return self.halves[0].plus(self.halves[1])


def walk_layers(
    problem: Problem,
    pruned: ir.Model,
    kept: Selection,
    *,
    rows: Rows,
    compensate: bool,
    wanted: Callable[[ir.Node], bool] = lambda node: True,
) -> Iterator[LayerSums]:
    """Yield the sums of each wanted layer of ``pruned`` in graph order.

    ``pruned`` is the reference cut down to ``kept``; the caller may write into a layer before
    it asks for the next. ``rows`` says how many are drawn, from all over the data. With
    ``compensate``, branches make up for their shortcuts.
    """
    whole = {str(node.name): (place, node) for place, node in enumerate(problem.reference.graph)}
    with ExitStack() as stack:
        walk = stack.enter_context(Walk(pruned, problem.data, problem.options))
        reference_walk = walk
        if pruned is not problem.reference:
            reference_walk = stack.enter_context(
                Walk(problem.reference, problem.data, problem.options)
            )
        for node in tuple(pruned.graph):
            if str(node.name) not in whole or not wanted(node):
                continue
            place, whole_node = whole[str(node.name)]
            layers = zip(linear_layers(node), linear_layers(whole_node), strict=True)
            for layer, whole_layer in layers:
                if layer.weights().shape[1] > MOST_COLUMNS:
                    continue
                walk.advance(str(node.name))
                reference_walk.advance(str(node.name))
                batches = _Batches(
                    problem, pruned, kept, (layer, whole_layer), compensate=compensate
                )
                yield batches.sums(walk, reference_walk, rows, place)


class _Batches:
    """The rows of one layer, batch by batch."""

    def __init__(
        self,
        problem: Problem,
        pruned: ir.Model,
        kept: Selection,
        layers: tuple[LinearLayer, LinearLayer],
        *,
        compensate: bool,
    ) -> None:
        self._problem, self._kept = problem, kept
        self._layer, self._whole = layers
        self._other: str | None = None
        self._target = self._layer.result
        addition = _other_operand(pruned, self._layer) if compensate else None
        if addition is not None:
            self._other, self._target = addition

    def sums(self, walk: Walk, reference_walk: Walk, rows: Rows, seed: int) -> LayerSums:
        """Stream all batches into the normal equations."""
        layer, data = self._layer, self._problem.data
        groups, columns, outputs = layer.weights().shape
        halves = (
            NormalEquations.empty(groups, columns, outputs),
            NormalEquations.empty(groups, columns, outputs),
        )
        batches = -(-(data.num_samples or 1) // self._problem.options.batch_size)
        most = -(-rows(columns) // batches)
        random = np.random.default_rng([self._problem.seed, seed, layer.weight])
        names = self._own_names()
        pairs = zip(
            walk.batches(names) if names else repeat({}),
            reference_walk.batches(self._reference_names()),
            strict=False,
        )
        for index, (own, reference) in enumerate(pairs):
            source = (
                self._cut(reference, layer.source) if layer.from_reference else own[layer.source]
            )
            chosen = _choose(random, layer.count_rows(source), most)
            targets = self._targets(own, reference, chosen)
            halves[index % 2].update(layer.rows(source, chosen), targets)
        return LayerSums(layer, halves)

    def _own_names(self) -> list[str]:
        names = [] if self._layer.from_reference else [self._layer.source]
        return names if self._other is None else [*names, self._other]

    def _reference_names(self) -> list[str]:
        # The reference has no value that holds the gates of a recurrent layer: they are made here.
        return [self._whole.source] if self._target is None else [self._target]

    def _targets(
        self, own: Mapping[str, Array], reference: Mapping[str, Array], chosen: IntArray
    ) -> Array:
        if self._target is None:
            rows = self._whole.rows(reference[self._whole.source], chosen)
            gates = rows @ self._whole.weights() + self._whole.bias()[:, None, :]
            stays = self._kept.mask(self._outputs())
            return np.asarray(gates[:, :, stays])
        result = self._cut(reference, self._target)
        if self._other is not None:
            result = result - own[self._other]
        return self._layer.targets(result, chosen)

    def _outputs(self) -> IntArray:
        """Channels of the layer's outputs, before any of them went."""
        use = find_use(self._problem.dependencies, self._layer, self._layer.outputs_axis)
        assert use is not None
        return use.channels

    def _cut(self, values: Mapping[str, Array], name: str) -> Array:
        """A value of the reference without the channels that have gone."""
        array = values[name]
        for axis, channels in enumerate(self._problem.dependencies.axes.get(name, ())):
            if channels is not None:
                array = np.compress(self._kept.mask(channels), array, axis=axis)
        return array


def find_use(dependencies: Dependencies, layer: LinearLayer, axis: int) -> Use | None:
    """What was noted about an axis of the weight of a layer."""
    for use in dependencies.uses:
        if (use.node, use.input, use.axis) == (layer.node.name, layer.weight, axis):
            return use
    return None


def _choose(random: np.random.Generator, count: int, most: int) -> IntArray:
    """Numbers of at most ``most`` of ``count`` rows, ascending."""
    if count <= most:
        return np.arange(count)
    return np.sort(random.choice(count, most, replace=False))


def _other_operand(model: ir.Model, layer: LinearLayer) -> tuple[str, str] | None:
    """Where the layer's result is added to something final: that value, and the sum."""
    result = next(
        (value for node in model.graph for value in node.outputs if value.name == layer.result),
        None,
    )
    user = None if result is None else only_user(result)
    if user is None or result is None or not is_op(user, "Add"):
        return None
    others = [value for value in user.inputs if value is not result and value is not None]
    if len(others) != 1 or is_constant(others[0]) or others[0].shape != result.shape:
        return None
    order = {node: place for place, node in enumerate(model.graph)}
    producer = others[0].producer()
    if producer is None or order[producer] > order[layer.node]:
        return None
    return str(others[0].name), str(user.outputs[0].name)
