"""Choose the order of axes in which each part of a graph computes, with the fewest Transposes.

TensorFlow stores channels last, ONNX convolutions want them second: exporters write a
Transpose before and after each. Between them stand operators to which the order is all the
same (``layout_rules``). For each of those the pass decides between the order it has and the
order in which its neighbours are stored; a Transpose is needed exactly on values whose two
ends decide differently. That is a minimum cut, and therefore found exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from converter.passes.base import Refuse, RewritePass
from converter.passes.layout_rules import (
    Mover,
    Perm,
    compose,
    inverse,
    mover,
    rebuild,
    stored_shape,
)
from converter.passes.min_cut import INFINITE, Network
from converter.passes.transposes import perm_of
from converter.passes.values import (
    Names,
    is_constant,
    is_op,
    opset,
    rank,
    replace_value,
)

_AS_IS, _STORED = "as is", "stored"
# One Transpose costs this much; what it moves only decides between equal numbers of them.
_ONE = 1 << 40


class MoveTransposes(RewritePass):
    """Move Transposes to where the fewest remain, and among equals to the smallest values.

    Needs shapes: run ``InferShapes`` before. Acts on each graph on its own; values that a
    subgraph uses stay in the order that they have. Models older than opset 13 are refused:
    their operators name axes in other ways.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Decide and rebuild, in the main graph and each subgraph."""
        modified = False
        for graph in tuple(model.graphs()):
            if not any(is_op(node, "Transpose") for node in graph):
                continue
            if opset(model) < 13:
                first = next(node for node in graph if is_op(node, "Transpose"))
                refuse(first, f"opset {opset(model)} is older than 13")
                continue
            modified = _arrange(graph) or modified
        return modified


@dataclass
class _Region:
    """What can be decided: movers by node, and for each value the order it may be stored in.

    Values that are stored as they are have no entry in ``perms``.
    """

    movers: dict[ir.Node, Mover] = field(default_factory=dict)
    perms: dict[ir.Value, Perm] = field(default_factory=dict)

    def data_perm(self, move: Mover) -> Perm | None:
        """The one order of all the data of ``move``, or ``None``."""
        inputs = [move.node.inputs[place] for place in move.data]
        perms = {self.perms.get(value) for value in inputs if value is not None}
        return perms.pop() if len(perms) == 1 else None

    def gives_as_is(self, move: Mover) -> bool:
        """Whether the outputs come out in the order they have, whatever that of the data is."""
        perm = self.data_perm(move)
        return perm is not None and _is_identity(move.output(perm))


def _is_identity(perm: Perm) -> bool:
    return perm == tuple(range(len(perm)))


def _arrange(graph: ir.Graph) -> bool:
    region = _explore(graph)
    if not region.movers:
        return False
    network = Network(_STORED, _AS_IS)
    sizes = {value: _elements(value) for value in region.perms}
    total = max(1, sum(sizes.values()))
    present = 0
    for value in region.perms:
        cost = _ONE + _ONE // 2 * sizes[value] // total
        present += _connect(network, region, graph, value, cost)
    cheapest, side = network.cut()
    if cheapest >= present:
        return False
    _Builder(graph, region).build([n for n in graph if n in region.movers and n in side])
    return True


def _explore(graph: ir.Graph) -> _Region:
    """Give every value that a Transpose touches an order, and carry it through the movers."""
    region = _Region()
    found: dict[ir.Node, Mover | None] = {}
    queue: deque[ir.Value] = deque()

    def assign(value: ir.Value | None, perm: Perm | None) -> None:
        if value is None or perm is None or value in region.perms or is_constant(value):
            return
        if rank(value) == len(perm) and not _is_identity(perm):
            region.perms[value] = perm
            queue.append(value)

    transposes = [node for node in graph if is_op(node, "Transpose")]
    for node in transposes:
        assign(node.outputs[0], _perm_of(node))
    for node in transposes:
        assign(node.inputs[0], _inverse_of(node))
    while queue:
        for node in _neighbours(queue.popleft(), graph):
            if node not in found:
                found[node] = None if is_op(node, "Transpose") else mover(node)
            move = found[node]
            perm = _perm_for(move, region) if move is not None else None
            if move is None or perm is None:
                continue
            for place in move.data:
                assign(node.inputs[place], perm)
            for output in node.outputs:
                assign(output, move.output(perm))
    for node, move in found.items():
        if move is not None and _consistent(move, region):
            region.movers[node] = move
    return region


def _perm_for(move: Mover, region: _Region) -> Perm | None:
    """The order that what is known about its inputs, or else its outputs, gives the data."""
    for place in move.data:
        value = move.node.inputs[place]
        if value is not None and value in region.perms:
            return region.perms[value]
    for output in move.node.outputs:
        if output in region.perms:
            return move.source(region.perms[output])
    return None


def _neighbours(value: ir.Value, graph: ir.Graph) -> Iterator[ir.Node]:
    producer = value.producer()
    if producer is not None and producer.graph is graph:
        yield producer
    for node in value.consumers():
        if node.graph is graph:
            yield node


def _consistent(move: Mover, region: _Region) -> bool:
    perm = region.data_perm(move)
    if perm is None:
        return False
    if region.gives_as_is(move):
        return True
    outputs = {region.perms.get(value) for value in move.node.outputs}
    output = outputs.pop()
    return not outputs and output is not None and move.fits(perm, output)


def _connect(network: Network, region: _Region, graph: ir.Graph, value: ir.Value, cost: int) -> int:
    """Add what it costs when the ends of ``value`` decide differently.

    Returns what ``value`` costs as the graph is now.
    """
    origin = _origin(value, region, graph)
    ends = {_end(use.node, region, graph, value) for use in value.uses()} - {None}
    if value.is_graph_output():
        ends.add(_AS_IS)
    if origin != _AS_IS:
        # Stored at its origin and needed as it is somewhere: one Transpose serves them all.
        network.add(origin, (value, _AS_IS), cost)
        for end in ends - {_STORED}:
            network.add((value, _AS_IS), end, INFINITE)
    if origin != _STORED:
        network.add((value, _STORED), origin, cost)
        for end in ends - {_AS_IS}:
            network.add(end, (value, _STORED), INFINITE)
    transposed_now = bool(ends - {_STORED}) if origin == _STORED else _STORED in ends
    return cost if transposed_now else 0


def _origin(value: ir.Value, region: _Region, graph: ir.Graph) -> Hashable:
    """What stands where ``value`` comes from: a decision, or a fixed order."""
    producer = value.producer()
    if producer is None or producer.graph is not graph:
        return _AS_IS
    if is_op(producer, "Transpose"):
        return _STORED if _perm_of(producer) == region.perms[value] else _AS_IS
    move = region.movers.get(producer)
    return _AS_IS if move is None or region.gives_as_is(move) else producer


def _end(node: ir.Node, region: _Region, graph: ir.Graph, value: ir.Value) -> Hashable:
    """What stands where ``value`` is used; ``None`` if either order will do."""
    if node.graph is not graph:
        return _AS_IS
    if is_op(node, "Transpose"):
        # The inverse wants the stored form; any other takes over whatever it gets.
        return _STORED if _inverse_of(node) == region.perms[value] else None
    return node if node in region.movers else _AS_IS


class _Builder:
    """Rebuilds the chosen nodes on stored values."""

    def __init__(self, graph: ir.Graph, region: _Region) -> None:
        self.graph, self.region = graph, region
        self.stored: dict[ir.Value, ir.Value] = {}
        self.names = Names(graph)

    def build(self, chosen: list[ir.Node]) -> None:
        """Replace ``chosen``, which stand in topological order."""
        region = self.region
        for node in chosen:
            move = region.movers[node]
            perm = region.data_perm(move)
            assert perm is not None
            output = region.perms.get(node.outputs[0]) if not region.gives_as_is(move) else None
            inputs = {place: self._stored(node.inputs[place]) for place in move.data}
            new = rebuild(move, perm, output or move.output(perm), inputs, self.graph)
            self.graph.insert_before(node, new)
            for old, made in zip(node.outputs, new.outputs, strict=True):
                made.name = self.names.take(f"{old.name}_transposed")
                if output is None:
                    replace_value(old, made)
                else:
                    self.stored[old] = made
        gone = set(chosen)
        for node in chosen:
            for value in node.outputs:
                if not region.gives_as_is(region.movers[node]):
                    self._hand_over(value, gone)
        for node in reversed(chosen):
            self.graph.remove(node, safe=True)
        for node in tuple(self.graph):
            if is_op(node, "Transpose"):
                output = node.outputs[0]
                if not output.uses() and not output.is_graph_output():
                    self.graph.remove(node, safe=True)

    def _stored(self, value: ir.Value | None) -> ir.Value:
        """The stored form of ``value``: there already, the source of a Transpose, or made."""
        assert value is not None
        if value not in self.stored:
            perm, producer = self.region.perms[value], value.producer()
            if producer is not None and is_op(producer, "Transpose") and _perm_of(producer) == perm:
                source = producer.inputs[0]
                assert source is not None
                self.stored[value] = source
            else:
                name = f"{value.name}_transposed"
                self.stored[value] = self._transpose(value, inverse(perm), name, value)
        return self.stored[value]

    def _transpose(self, source: ir.Value, perm: Perm, name: str, after: ir.Value) -> ir.Value:
        """A new Transpose of ``source``, placed where ``after`` has just been computed."""
        node = ir.node("Transpose", [source], {"perm": perm}, name=f"{name}/Transpose")
        node.outputs[0].name = self.names.take(name)
        producer = after.producer()
        if producer is not None and producer.graph is self.graph:
            node.metadata_props.update(producer.metadata_props)
            self.graph.insert_after(producer, node)
        else:
            self.graph.insert_before(self.graph[0], node)
        node.outputs[0].type = source.type
        node.outputs[0].shape = stored_shape(source.shape, inverse(perm))
        return node.outputs[0]

    def _hand_over(self, value: ir.Value, gone: set[ir.Node]) -> None:
        """Give what still uses ``value`` its stored form, or a Transpose back to it."""
        stored, perm = self.stored[value], self.region.perms[value]
        for use in value.uses():
            if is_op(use.node, "Transpose") and use.node.graph is self.graph:
                self._hand_to_transpose(use.node, stored, compose(perm, _perm_of(use.node)))
        if value.is_graph_output() or any(use.node not in gone for use in value.uses()):
            self.names.free(str(value.name))
            replace_value(value, self._transpose(stored, perm, str(value.name), value))

    def _hand_to_transpose(self, node: ir.Node, stored: ir.Value, perm: Perm) -> None:
        output = node.outputs[0]
        if _is_identity(perm) and not (output.is_graph_output() and stored.is_graph_output()):
            replace_value(output, stored)
            self.graph.remove(node, safe=True)
            return
        node.replace_input_with(0, stored)
        node.attributes.add(ir.AttrInt64s("perm", perm))


def _perm_of(node: ir.Node) -> Perm:
    perm = perm_of(node)
    # Without rank and attribute: a permutation that fits no value.
    return (0,) if perm is None else perm


def _inverse_of(node: ir.Node) -> Perm:
    return inverse(_perm_of(node))


def _elements(value: ir.Value) -> int:
    """Elements of ``value`` with every dynamic dimension taken as one."""
    count = 1
    for dim in value.shape or ():
        count *= dim if isinstance(dim, int) else 1
    return count
