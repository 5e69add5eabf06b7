"""What can go without any change of the results: dead channels and duplicate ones.

A unit is dead where all that read it read a constant, which moves into their biases, or
multiply it by zero. Two units are the same where everything that makes them is the same;
then one takes over the other's weights in all that read them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import onnx_ir as ir

from converter.passes import optimize
from converter.pruning.exact.bounds import Ranges
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.removal import remove_channels
from converter.pruning.groups.selection import Dependencies, Group
from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.rule import Use
from converter.pruning.regression import LinearLayer, linear_layers
from converter.pruning.regression.base import overwrite, read
from converter.pruning.regression.normal_equations import Float64
from runtimes.base import Array
from runtimes.errors import ModelError
from runtimes.onnx_graph.layer_names import LAYER_KEY
from runtimes.onnx_graph.linear import linear_of
from runtimes.onnx_graph.values import constant, is_op

Kind = Literal["output", "unused", "constant", "unread", "duplicate"]


@dataclass(frozen=True)
class Removed:
    """Something that went without changing the results.

    ``layers``: Keras layers (or nodes) that it was a part of; ``channels``: how many of each,
    ``None`` where all of the layers went.
    """

    kind: Kind
    layers: tuple[str, ...]
    channels: int | None


def keep_outputs(model: ir.Model, names: Sequence[str]) -> tuple[Removed, ...]:
    """Let ``model`` give out the outputs called ``names`` only, in place, and nothing for others.

    The order of the outputs stays. Raises ``ModelError`` for a name that is not an output.
    """
    have = [str(value.name) for value in model.graph.outputs]
    unknown = [name for name in names if name not in have]
    if unknown or not names:
        asked = f"no output {unknown[0]!r}" if unknown else "no output to keep was named"
        raise ModelError(f"{asked}; the model has {', '.join(map(repr, have))}")
    gone = [value for value in model.graph.outputs if value.name not in names]
    before = _layers(model)
    for value in gone:
        model.graph.outputs.remove(value)
    optimize(model)
    removed = [Removed("output", (str(value.name),), None) for value in gone]
    dead = tuple(layer for layer in before if layer not in _layers(model))
    return (*removed, Removed("unused", dead, None)) if dead else tuple(removed)


def remove_dead(model: ir.Model) -> tuple[Removed, ...]:
    """Take out of ``model`` what changes nothing, in place, until nothing more is found.

    Run ``optimize`` before. Results stay the same up to rounding.
    """
    found: list[Removed] = []
    while True:
        removed = _once(model)
        if not removed:
            return tuple(found)
        found += removed
        optimize(model)


def _layers(model: ir.Model) -> dict[str, None]:
    names = (node.metadata_props.get(LAYER_KEY) or node.name for node in model.graph)
    return dict.fromkeys(str(name) for name in names)


def _once(model: ir.Model) -> list[Removed]:
    """One round: constants and what nobody reads first, else duplicates."""
    dependencies = find_dependencies(model)
    graph = _Graph(model, dependencies)
    for search in (_constant_units, _duplicate_units):
        gone: dict[int, tuple[Kind, Group]] = {}
        kept = dependencies.everything()
        for group in dependencies.groups:
            for found in search(graph, group):
                fewer = kept.without(np.array([found.unit]))
                if dependencies.leaves_something(fewer):
                    found.hand_over()
                    kept = fewer
                    gone[found.unit] = (found.kind, group)
        if gone:
            remove_channels(model, dependencies, kept)
            return _report(gone)
    return []


def _report(gone: Mapping[int, tuple[Kind, Group]]) -> list[Removed]:
    counts: dict[tuple[Kind, tuple[str, ...]], int] = defaultdict(int)
    for kind, group in gone.values():
        counts[kind, group.layers] += 1
    return [Removed(kind, layers, count) for (kind, layers), count in counts.items()]


@dataclass(frozen=True)
class _Dispensable:
    """A unit that may go once what it gives has been handed over to others."""

    unit: int
    kind: Kind
    hand_over: Callable[[], None]


class _Graph:
    """The uses of each unit, and the constants behind them."""

    def __init__(self, model: ir.Model, dependencies: Dependencies) -> None:
        self.dependencies = dependencies
        self.nodes = {str(node.name): node for node in model.graph}
        self.ranges = Ranges(model, dependencies)
        unit_of = dependencies.partition.unit_of
        self.uses: dict[int, list[tuple[Use, IntArray]]] = defaultdict(list)
        for use in dependencies.uses:
            units = unit_of[use.channels]
            order = np.argsort(units, kind="stable")
            starts = np.flatnonzero(np.diff(units[order], prepend=-1))
            for places in np.split(order, starts[1:]):
                self.uses[int(units[places[0]])].append((use, places))

    def array(self, use: Use) -> Array | None:
        """The constant along an axis of which the use lies."""
        return constant(self.nodes[use.node].inputs[use.input])

    def layer(self, use: Use) -> LinearLayer | None:
        """The linear layer whose weight the use is about, if it can be changed."""
        layers = linear_layers(self.nodes[use.node])
        return next((layer for layer in layers if layer.weight == use.input), None)


def _constant_units(graph: _Graph, group: Group) -> Iterator[_Dispensable]:
    """Units that all readers see as a constant or not at all; constants move into biases."""
    for unit in map(int, group.units):
        reads = [(use, places) for use, places in graph.uses[unit] if use.reads]
        moves = [_move(graph, use, places) for use, places in reads]
        if reads and all(move is not None for move in moves):
            steps = [move for move in moves if move is not None]
            kind: Kind = "unread" if all(step is _nothing for step in steps) else "constant"
            yield _Dispensable(unit, kind, partial(_run, steps))


def _run(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()


def _nothing() -> None:
    """A weight of zero has nothing to hand over."""


def _nothing_read() -> None:
    """Nor has a constant that is zero."""


def _move(graph: _Graph, use: Use, places: IntArray) -> Callable[[], None] | None:
    """How a reader does without the channels; ``None`` if it cannot."""
    array = graph.array(use)
    if array is not None and not np.take(array, places, axis=use.axis).any():
        return _nothing
    numbers = _constants_read(graph, use, places)
    if numbers is None:
        return None
    layer = graph.layer(use)
    if not numbers.any():
        return _nothing_read
    if layer is None or not layer.takes_bias or not _sees_everything(layer):
        return None
    return partial(_move_into_bias, layer, places, numbers)


def _constants_read(graph: _Graph, use: Use, places: IntArray) -> Float64 | None:
    """The constants that a reader sees in these channels, or ``None`` if they are not."""
    node = graph.nodes[use.node]
    if is_op(node, "LSTM", "GRU", "RNN") and use.input != 1:
        return None
    data = node.inputs[use.input if constant(node.inputs[use.input]) is None else _data(node, use)]
    if data is None:
        return None
    channels = use.channels[places]
    grouped = is_op(node, "Conv") and node.attributes.get_int("group", 1) > 1
    if grouped:  # a column of the weight meets another channel of the unit in each group
        own = graph.ranges.channels(str(data.name))
        unit_of = graph.dependencies.partition.unit_of
        if own is None:
            return None
        channels = own[np.isin(unit_of[own], unit_of[channels])]
    numbers = graph.ranges.constants(str(data.name), channels)
    if np.isnan(numbers).any() or (grouped and numbers.any()):
        return None
    return numbers[: len(places)]


def _data(node: ir.Node, use: Use) -> int:
    """Which input a weight is multiplied with."""
    return 1 if is_op(node, "MatMul", "Gemm") and use.input == 0 else 0


def _sees_everything(layer: LinearLayer) -> bool:
    """Whether a constant input adds the same everywhere: no output sees a border."""
    if is_op(layer.node, "Conv", "ConvTranspose"):
        linear = linear_of(layer.node)
        return linear is not None and not linear.sees_border()
    return True


def _move_into_bias(layer: LinearLayer, places: IntArray, numbers: Float64) -> None:
    weights = layer.weights()
    columns = (places[:, None] * layer.fan + np.arange(layer.fan)).reshape(-1)
    repeated = np.repeat(numbers, layer.fan)
    shift = np.einsum("c,gco->go", repeated, weights[:, columns])
    layer.write(weights, layer.bias() + shift)


def _duplicate_units(graph: _Graph, group: Group) -> Iterator[_Dispensable]:
    """Units that are made like an earlier one, whose readers take over their weights."""
    originals: dict[bytes, int] = {}
    for unit in map(int, group.units):
        signature = _signature(graph, unit)
        first = unit if signature is None else originals.setdefault(signature, unit)
        if first != unit:
            yield _Dispensable(unit, "duplicate", partial(_merge, graph, unit, first))


def _merge(graph: _Graph, unit: int, first: int) -> None:
    """Let the readers of ``first`` take over the weights that they have for ``unit``."""
    pairs = zip(graph.uses[unit], graph.uses[first], strict=True)
    for (use, places), (_, first_places) in pairs:
        if use.reads:
            value = graph.nodes[use.node].inputs[use.input]
            array = np.moveaxis(read(value), use.axis, 0)
            array[first_places] += array[places]
            overwrite(value, np.moveaxis(array, 0, use.axis))


def _signature(graph: _Graph, unit: int) -> bytes | None:
    """What makes a unit; ``None`` where it is read in a way that cannot be taken over."""
    digest = hashlib.blake2b(digest_size=32)
    made = False
    for use, places in graph.uses[unit]:
        array = graph.array(use)
        digest.update(f"{use.node}\0{use.input}\0{use.axis}\0{len(places)}\0".encode())
        if use.reads:
            if graph.layer(use) is None or is_op(graph.nodes[use.node], "LSTM", "GRU", "RNN"):
                return None
            continue
        if array is None:
            return None
        made = True
        digest.update(np.ascontiguousarray(np.take(array, places, axis=use.axis)).tobytes())
    return digest.digest() if made else None
