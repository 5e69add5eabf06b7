"""Normal equations of every layer of a model that is being pruned, against the model it was.

Layer after layer from input to output: X is what the pruned and already repaired model gives
the layer, T what the whole model has at the layer's output. Where the output goes into an Add
whose other operand is final already, T is what is missing there, so that a residual branch
makes up for what the shortcut has lost (https://arxiv.org/abs/1707.06168, section 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.branches import Branch, find_branches
from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.rule import Use
from converter.pruning.regression import LinearLayer, linear_layers
from converter.pruning.regression.normal_equations import NormalEquations
from converter.pruning.repair.reference_rows import (
    Asked,
    Drawn,
    ReferenceRows,
    choose,
    draws,
    results,
)
from converter.pruning.repair.walk import Walk, WalkOptions
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.onnx_graph.values import is_constant, is_op, only_user
from runtimes.stress.mixture import Mixture, Perturbation
from runtimes.stress.noise import Noise

MOST_COLUMNS = 6000
"""A layer with more columns keeps its weights: XᵀX would not fit in memory."""


# Of the memory that is allowed, what rows of the reference may take for each of the few problems
# that a search holds side by side.
_PART_OF_ROWS = 6
# And what all its values of a batch may take, where they are asked for in one run.
_PART_OF_VALUES = 8

# Of the samples that layers are fitted on: so many have one of the perturbations that will judge.
_PERTURBED = 0.5

Rows = Callable[[int], int]
"""How many rows to look at for a layer of so many columns."""


@dataclass(frozen=True)
class Problem:
    """What repair and ranking work on.

    ``reference`` is the whole model, ``dependencies`` are its own; ``data`` is bound to its
    inputs. Where layers are fitted, some of them get ``noise``, and others one of ``rungs``, which
    will judge. ``seed`` draws the rows that are looked at.
    """

    reference: ir.Model
    dependencies: Dependencies
    data: Dataset
    options: WalkOptions
    seed: int = 0
    noise: Noise | None = None
    rungs: Sequence[Perturbation] = ()

    @property
    def samples(self) -> Dataset:
        """What layers are fitted on."""
        data = self.data if self.noise is None else self.data.changed(self.noise.on)
        return self._perturbed(data, _PERTURBED)

    @property
    def judging(self) -> tuple[Dataset, ...]:
        """What cut models are judged on: the samples as they are, and each with one rung."""
        return (self.data, *([self._perturbed(self.data, 1.0)] if self.rungs else []))

    def _perturbed(self, data: Dataset, share: float) -> Dataset:
        return data.changed(Mixture(self.rungs, share, self.seed).on) if self.rungs else data

    @property
    def batches(self) -> int:
        """How many batches a walk takes."""
        return -(-(self.data.num_samples or 1) // self.options.batch_size)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches of the reference that may go as a whole."""
        return find_branches(self.reference, self.dependencies)

    @cached_property
    def reference_rows(self) -> ReferenceRows:
        """What the reference has at the rows that refits look at; it grows with every refit."""
        return ReferenceRows(self.seed, self.options.memory_bytes // _PART_OF_ROWS)


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
    wanted: Callable[[ir.Node], bool],
    shared: Walk | None = None,
) -> Iterator[LayerSums]:
    """Yield the sums of each wanted layer of ``pruned`` in graph order.

    ``pruned`` is the reference cut down to ``kept``; the caller may write into a layer before
    it asks for the next. ``rows`` says how many are drawn, from all over the data. Branches make
    up for their shortcuts. ``shared``: a walk over the reference as far as ``pruned`` is the same.
    """
    begun = shared or Walk(problem.reference, problem.samples, problem.options)
    layers = [
        _Batches(problem, pruned, kept, pair) for pair in _wanted_layers(problem, pruned, wanted)
    ]
    with ExitStack() as stack:
        walk = stack.enter_context(begun.over(pruned))
        reference_walk = stack.enter_context(begun.over(problem.reference))
        for place, layer in enumerate(layers):
            behind = partial(layer.stopped, reference_walk)
            ahead = _ahead(problem, layers[place:], rows)
            problem.reference_rows.learn(ahead, problem.batches, behind)
            yield layer.sums(layer.stopped(walk), behind, rows)


def _wanted_layers(
    problem: Problem, pruned: ir.Model, wanted: Callable[[ir.Node], bool]
) -> Iterator[tuple[LinearLayer, LinearLayer]]:
    """The wanted layers of ``pruned`` in graph order, each with the whole layer."""
    whole = {str(node.name): node for node in problem.reference.graph}
    for node in tuple(pruned.graph):
        if str(node.name) in whole and wanted(node):
            pairs = zip(linear_layers(node), linear_layers(whole[str(node.name)]), strict=True)
            yield from (pair for pair in pairs if pair[0].weights().shape[1] <= MOST_COLUMNS)


def _ahead(problem: Problem, layers: Sequence[_Batches], rows: Rows) -> Iterator[Asked]:
    """What of the reference can be computed in one run: as many layers as memory holds."""
    room = problem.options.memory_bytes / _PART_OF_VALUES
    for one in layers:
        asked = one.asked(rows)
        if asked is None:
            continue
        room -= one.value_bytes(problem.options.batch_size)
        if room < 0:
            return
        yield asked


def walk_inputs(
    problem: Problem, *, rows: Rows, wanted: Callable[[ir.Node], bool]
) -> Iterator[tuple[LinearLayer, NormalEquations]]:
    """Yield each wanted layer of the reference in graph order, and the sums of its inputs alone.

    What it makes of them follows from its weights, so it need not run.
    """
    with Walk(problem.reference, problem.samples, problem.options) as walk:
        for node in problem.reference.graph:
            for layer in linear_layers(node) if wanted(node) else ():
                groups, columns, _ = layer.weights().shape
                if columns > MOST_COLUMNS:
                    continue
                walk.advance(str(node.name))
                random, most = draws(layer, problem.seed), -(-rows(columns) // problem.batches)
                sums = NormalEquations.empty(groups, columns, 0)
                for batch in walk.batches([layer.source]):
                    source = batch[layer.source]
                    x = layer.rows(source, choose(random, layer.count_rows(source), most))
                    sums.update(x, x[:, :, :0])
                yield layer, sums


class _Batches:
    """The rows of one layer, batch by batch."""

    def __init__(
        self,
        problem: Problem,
        pruned: ir.Model,
        kept: Selection,
        layers: tuple[LinearLayer, LinearLayer],
    ) -> None:
        self._problem, self._kept = problem, kept
        self._layer, self._whole = layers
        self._groups = len(self._layer.weights())
        self._other: str | None = None
        self._target = self._layer.result
        addition = _other_operand(pruned, self._layer)
        if addition is not None:
            self._other, self._target = addition
        self._rows = problem.reference_rows

    def stopped(self, walk: Walk) -> Walk:
        """``walk``, which then has come to this layer."""
        walk.advance(str(self._layer.node.name))
        return walk

    def sums(self, walk: Walk, reference: Callable[[], Walk], rows: Rows) -> LayerSums:
        """Stream all batches into the normal equations; ``walk`` has come to this layer."""
        layer = self._layer
        groups, columns, outputs = layer.weights().shape
        halves = (
            NormalEquations.empty(groups, columns, outputs),
            NormalEquations.empty(groups, columns, outputs),
        )
        most = self._most(rows)
        if layer.from_reference:
            pairs = self._by_state(reference(), most)
        else:
            pairs = self._by_input(walk, reference, most)
        for index, (x, t) in enumerate(pairs):
            halves[index % 2].update(x, t)
        return LayerSums(layer, halves)

    def asked(self, rows: Rows) -> Asked | None:
        """What of the reference can be learned ahead, if anything."""
        if self._layer.from_reference or not self._rows_stay():
            return None
        return Asked(self._whole, self._target, self._most(rows))

    def value_bytes(self, batch_size: int) -> float:
        """Bytes of what the reference reads and gives here in a batch; infinite if not known."""
        node = self._whole.node
        return sum(_bytes(value, batch_size) for value in (*node.inputs[:1], *node.outputs[:1]))

    def _most(self, rows: Rows) -> int:
        """Rows of a batch: as many as the whole layer needs, so they are the same for all plans."""
        return -(-rows(self._whole.weights().shape[1]) // self._problem.batches)

    def _by_input(
        self, walk: Walk, reference: Callable[[], Walk], most: int
    ) -> Iterator[tuple[Array, Array]]:
        """X from what the pruned model gives the layer, T from the reference."""
        layer = self._layer
        names = [layer.source] if self._other is None else [layer.source, self._other]
        found = self._targets(reference, most)
        for (rows, targets), own in zip(found, walk.batches(names), strict=False):
            x = layer.rows(own[layer.source], rows)
            if self._other is None:
                yield x, targets
            else:
                yield x, targets - layer.targets(own[self._other], rows)

    def _targets(
        self, reference: Callable[[], Walk], most: int
    ) -> Iterator[tuple[IntArray, Array]]:
        """The rows of each batch, and what the reference has there."""
        if not self._rows_stay():
            yield from self._cut_batches(reference(), most)
            return
        for drawn in self._rows.batches(Asked(self._whole, self._target, most), reference):
            yield drawn.rows, self._stays(drawn)

    def _by_state(self, reference: Walk, most: int) -> Iterator[tuple[Array, Array]]:
        """X and T from the reference, where the layer reads what its own node gives."""
        random = draws(self._whole, self._problem.seed)
        for batch in reference.batches([self._whole.source]):
            source = self._cut(batch, self._whole.source)
            rows = choose(random, self._layer.count_rows(source), most)
            gates = Drawn(rows, results(self._whole, None, batch, rows))
            yield self._layer.rows(source, rows), self._stays(gates)

    def _rows_stay(self) -> bool:
        """Whether of the targets only channels go, and no rows."""
        axes = list(self._target_axes)
        if axes:
            del axes[self._whole.result_axis]
        return all(channels is None or self._kept.mask(channels).all() for channels in axes)

    def _stays(self, drawn: Drawn) -> Array:
        """The targets of the channels that stay, in the groups that the layer has now."""
        found, mask = drawn.targets, self._staying
        if mask is None or mask.all():
            return found
        if self._target is None:  # of the gates the same ones go in all directions
            return np.asarray(found[:, :, mask])
        rows = found.shape[1]
        stay = found.transpose(1, 0, 2).reshape(rows, -1)[:, mask]
        return stay.reshape(rows, self._groups, -1).transpose(1, 0, 2)

    @cached_property
    def _staying(self) -> Array | None:
        """Which outputs of the whole layer stay; None where none of them can go."""
        if self._target is None:
            return self._kept.mask(self._outputs())
        channels = self._target_axes[self._whole.result_axis] if self._target_axes else None
        return None if channels is None else self._kept.mask(channels)

    @property
    def _target_axes(self) -> Sequence[IntArray | None]:
        """Channels along the axes of the targets, where the graph has a value of them."""
        axes = self._problem.dependencies.axes
        return () if self._target is None else axes.get(self._target, ())

    def _cut_batches(self, reference: Walk, most: int) -> Iterator[tuple[IntArray, Array]]:
        """Rows and targets where the places have channels as well, and some have gone."""
        assert self._target is not None
        random = draws(self._whole, self._problem.seed)
        for batch in reference.batches([self._whole.source, self._target]):
            source = self._cut(batch, self._whole.source)
            rows = choose(random, self._layer.count_rows(source), most)
            yield rows, self._layer.targets(self._cut(batch, self._target), rows)

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


def _bytes(value: ir.Value | None, batch_size: int) -> float:
    if value is None or value.shape is None or not value.shape:
        return math.inf
    sizes = [batch_size, *value.shape[1:]]
    return math.prod(size if isinstance(size, int) else math.inf for size in sizes) * 4


def find_use(dependencies: Dependencies, layer: LinearLayer, axis: int) -> Use | None:
    """What was noted about an axis of the weight of a layer."""
    for use in dependencies.uses:
        if (use.node, use.input, use.axis) == (layer.node.name, layer.weight, axis):
            return use
    return None


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
