"""Which parts of a graph may be computed in either of two orders of axes, and what links them.

Two orders belong to each value in such a part: the one it has and the one a Transpose links it
to. They are numbered 0 and 1 so that the numbers agree along every edge; a Transpose links a
value that is in order 0 as it stands with one that is in order 1, and so the same tensor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from converter.passes.flatten import takes_any_order
from converter.passes.layout_rules import Mover, Perm, inverse, mover
from converter.passes.transposes import perm_of
from converter.passes.values import is_constant, is_op, rank


@dataclass
class Tensor:
    """One tensor in both orders: a value and the Transposes of it.

    ``root`` is computed, ``members`` (``root`` too) are its forms in the graph as it is now.
    ``origin`` and ``ends`` are where it comes from and where it goes: a node that is free to
    decide, or the number of the order that is given there.
    """

    root: ir.Value
    members: list[ir.Value]
    origin: Hashable
    ends: set[Hashable]

    def elements(self) -> int:
        """Elements, with every dynamic dimension taken as one."""
        count = 1
        for dim in self.root.shape or ():
            count *= dim if isinstance(dim, int) else 1
        return count


@dataclass
class Region:
    """What can be decided.

    ``movers`` are the nodes that can compute in either order. For each value in the region
    ``perms`` relates it to the other order (``value = Transpose(other, perm)``) and
    ``orders`` is the number of the order it has. ``as_is`` are movers whose outputs come out
    the same in either order of the data (some reductions).
    """

    movers: dict[ir.Node, Mover] = field(default_factory=dict)
    perms: dict[ir.Value, Perm] = field(default_factory=dict)
    orders: dict[ir.Value, int] = field(default_factory=dict)
    as_is: set[ir.Node] = field(default_factory=set)
    tensors: list[Tensor] = field(default_factory=list)

    def data(self, node: ir.Node) -> ir.Value:
        """The first of the inputs of a mover that are stored in an order of axes."""
        value = node.inputs[self.movers[node].data[0]]
        assert value is not None
        return value

    def order_now(self, node: ir.Node) -> int:
        """The order in which a mover computes as the graph is now."""
        return self.orders[self.data(node)]


def explore(graph: ir.Graph) -> Region:
    """Follow both orders from every Transpose as far as they reach."""
    region = Region()
    found: dict[ir.Node, Mover] = {}
    for node in graph:
        if is_op(node, "Transpose"):
            perm = perm_of(node)
            if perm is not None:
                _spread(graph, region, found, node, perm)
    for node, move in found.items():
        if _fits(move, region):
            region.movers[node] = move
    _collect_tensors(graph, region)
    return region


def _spread(
    graph: ir.Graph, region: Region, found: dict[ir.Node, Mover], start: ir.Node, perm: Perm
) -> None:
    """Number the orders of all that a Transpose reaches and that has no number yet."""
    queue: deque[ir.Value] = deque()

    def assign(value: ir.Value | None, perm: Perm, order: int) -> None:
        if value is None or value in region.perms or is_constant(value):
            return
        if rank(value) == len(perm) and not is_identity(perm):
            region.perms[value], region.orders[value] = perm, order
            queue.append(value)

    assign(start.inputs[0], inverse(perm), 0)
    if not queue:
        assign(start.outputs[0], perm, 1)
    while queue:
        value = queue.popleft()
        order = region.orders[value]
        for node in _neighbours(value, graph):
            if is_op(node, "Transpose"):
                for end, other_perm in _across(node, value, region):
                    assign(end, other_perm, 1 - order)
                continue
            move = found.get(node) or mover(node)
            if move is None:
                continue
            found[node] = move
            if any(node.inputs[place] is value for place in move.data):
                data_perm: Perm | None = region.perms[value]
            else:
                data_perm = move.source(region.perms[value])
            if data_perm is not None:
                for place in move.data:
                    assign(node.inputs[place], data_perm, order)
                for output in node.outputs:
                    assign(output, _output_perm(move, data_perm, output), order)


def _output_perm(move: Mover, perm: Perm, output: ir.Value) -> Perm:
    """The order of an output: where there is a choice, the one that a Transpose undoes."""
    for user in output.consumers():
        undone = perm_of(user) if is_op(user, "Transpose") else None
        if undone is not None and move.fits(perm, inverse(undone)):
            return inverse(undone)
    return move.output(perm)


def _across(
    node: ir.Node, value: ir.Value, region: Region
) -> Iterator[tuple[ir.Value | None, Perm]]:
    """The value at the other end of a Transpose, if it is the other order of ``value``."""
    perm = perm_of(node)
    if perm is None:
        return
    if node.inputs[0] is value and region.perms[value] == inverse(perm):
        yield node.outputs[0], perm
    if node.outputs[0] is value and region.perms[value] == perm:
        yield node.inputs[0], inverse(perm)


def _neighbours(value: ir.Value, graph: ir.Graph) -> Iterator[ir.Node]:
    producer = value.producer()
    if producer is not None and producer.graph is graph:
        yield producer
    for node in value.consumers():
        if node.graph is graph:
            yield node


def _fits(move: Mover, region: Region) -> bool:
    """Whether all ends of a node agree; notes the node if its outputs do not care."""
    inputs = [move.node.inputs[place] for place in move.data]
    perms = {region.perms.get(value) for value in inputs if value is not None}
    orders = {region.orders.get(value) for value in inputs if value is not None}
    perm, order = perms.pop(), orders.pop()
    if perms or orders or perm is None:
        return False
    if is_identity(move.output(perm)):
        region.as_is.add(move.node)
        return True
    return all(
        region.orders.get(output) == order and move.fits(perm, region.perms[output])
        for output in move.node.outputs
    )


def links(node: ir.Node, region: Region) -> bool:
    """Whether a Transpose links the two orders of one tensor."""
    source, output = node.inputs[0], node.outputs[0]
    return (
        source in region.perms
        and output in region.perms
        and region.perms[output] == perm_of(node)
        and region.perms[source] == inverse(region.perms[output])
        and region.orders[source] != region.orders[output]
    )


def _collect_tensors(graph: ir.Graph, region: Region) -> None:
    tensors: dict[ir.Value, Tensor] = {}
    for value in region.perms:
        root = value
        while (above := _linked_above(root, graph, region)) is not None:
            root = above
        if root not in tensors:
            tensors[root] = Tensor(root, [], _origin(root, region), set())
        tensors[root].members.append(value)
        tensors[root].ends |= _ends(value, graph, region)
    region.tensors = list(tensors.values())


def _linked_above(value: ir.Value, graph: ir.Graph, region: Region) -> ir.Value | None:
    producer = value.producer()
    if producer is None or producer.graph is not graph or not is_op(producer, "Transpose"):
        return None
    return producer.inputs[0] if links(producer, region) else None


def _origin(value: ir.Value, region: Region) -> Hashable:
    producer = value.producer()
    free = producer in region.movers and producer not in region.as_is
    return producer if free else region.orders[value]


def _ends(value: ir.Value, graph: ir.Graph, region: Region) -> set[Hashable]:
    ends: set[Hashable] = set()
    if value.is_graph_output():
        ends.add(region.orders[value])
    for node in value.consumers():
        if node.graph is graph and is_op(node, "Transpose"):
            # One that links is no end, and one that does not takes either order.
            continue
        if node.graph is graph and takes_any_order(node):
            continue
        free = node.graph is graph and node in region.movers
        ends.add(node if free else region.orders[value])
    return ends


def is_identity(perm: Perm) -> bool:
    """Whether ``perm`` moves nothing."""
    return perm == tuple(range(len(perm)))
