"""Which parts of a graph can be computed in either of two forms, and what links them.

Each value in such a part has two forms: its current one, and the one to which a Transpose (or
Squeeze, or Unsqueeze) links it. They are numbered 0 and 1 so that the numbers agree along every
edge. A link leads from a value that is now in form 0 to one in form 1, or back; both are the same
tensor.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from converter.passes.layout.operators import Mover, mover
from runtimes.onnx_graph.axis_order import AxisOrder, order_of
from runtimes.onnx_graph.values import is_constant, is_op


@dataclass(frozen=True)
class Links:
    """Which operators are links, and which other nodes accept a tensor in any form."""

    op_types: tuple[str, ...]
    takes_any_form: Callable[[ir.Node], bool] = lambda node: False

    def order(self, node: ir.Node) -> AxisOrder | None:
        """The output of ``node`` as a form of its input, if ``node`` is a link."""
        return order_of(node) if is_op(node, *self.op_types) else None


@dataclass
class Tensor:
    """One tensor in both forms: a value, and the values that links make from it.

    ``root`` is the value that is computed; ``members`` (including ``root``) are its forms in the
    current graph. ``origin`` and ``ends`` are where it comes from and where it goes: a node whose
    form can be chosen, or the number of a fixed form.
    """

    root: ir.Value
    members: list[ir.Value]
    origin: Hashable
    ends: set[Hashable]

    def elements(self) -> int:
        """Number of elements, with every dynamic dimension counted as one."""
        return math.prod(dim for dim in self.root.shape or () if isinstance(dim, int))


@dataclass
class Region:
    """The part of a graph in which forms can be chosen.

    ``movers`` are the nodes that can compute on either form. For each value in the region,
    ``orders`` relates it to its other form and ``forms`` is the number of its current form.
    ``as_is`` are movers whose outputs are the same for either form of the data (some reductions).
    """

    links: Links
    movers: dict[ir.Node, Mover] = field(default_factory=dict)
    orders: dict[ir.Value, AxisOrder] = field(default_factory=dict)
    forms: dict[ir.Value, int] = field(default_factory=dict)
    as_is: set[ir.Node] = field(default_factory=set)
    tensors: list[Tensor] = field(default_factory=list)

    def data(self, node: ir.Node) -> ir.Value:
        """The first input of a mover that changes form."""
        value = node.inputs[self.movers[node].data[0]]
        assert value is not None
        return value

    def form_now(self, node: ir.Node) -> int:
        """The form on which a mover computes in the current graph."""
        return self.forms[self.data(node)]

    def is_link(self, node: ir.Node) -> bool:
        """Whether ``node`` leads from one form of a tensor to the other."""
        order = self.links.order(node)
        if order is None:
            return False
        source, output = node.inputs[0], node.outputs[0]
        return (
            source in self.orders
            and output in self.orders
            and self.orders[output] == order
            and self.orders[source] == order.inverse()
            and self.forms[source] != self.forms[output]
        )


def explore(graph: ir.Graph, links: Links) -> Region:
    """Follow both forms from every link as far as possible."""
    region = Region(links)
    found: dict[ir.Node, Mover] = {}
    for node in graph:
        order = links.order(node)
        if order is not None and not order.is_identity():
            _spread(graph, region, found, node, order)
    for node, move in found.items():
        if _fits(move, region):
            region.movers[node] = move
    _collect_tensors(graph, region)
    return region


def _spread(
    graph: ir.Graph, region: Region, found: dict[ir.Node, Mover], start: ir.Node, order: AxisOrder
) -> None:
    """Number the forms of everything reachable from a link that has no number yet."""
    queue: deque[ir.Value] = deque()

    def assign(value: ir.Value | None, order: AxisOrder | None, form: int) -> None:
        if value is None or order is None or value in region.orders or is_constant(value):
            return
        if _describes(order, value):
            region.orders[value], region.forms[value] = order, form
            queue.append(value)

    assign(start.inputs[0], order.inverse(), 0)
    if not queue:
        assign(start.outputs[0], order, 1)
    while queue:
        value = queue.popleft()
        form = region.forms[value]
        for node in _neighbours(value, graph):
            if region.links.order(node) is not None:
                for end, other in _across(node, value, region):
                    assign(end, other, 1 - form)
                continue
            move = found.get(node) or mover(node)
            if move is None:
                continue
            found[node] = move
            is_data = any(node.inputs[place] is value for place in move.data)
            data_order = region.orders[value] if is_data else move.source(region.orders[value])
            if data_order is not None:
                for place in move.data:
                    assign(node.inputs[place], data_order, form)
                for output in node.outputs:
                    assign(output, _output_order(move, data_order, output, region), form)


def _describes(order: AxisOrder, value: ir.Value) -> bool:
    """Whether ``order`` can apply to ``value``: the rank and the axes of size one agree."""
    shape = value.shape
    if shape is None or len(shape) != len(order.places) or order.is_identity():
        return False
    return all(place is not None or shape[axis] == 1 for axis, place in enumerate(order.places))


def _output_order(
    move: Mover, order: AxisOrder, output: ir.Value, region: Region
) -> AxisOrder | None:
    """The order of an output; if there is a choice, the one that a link undoes."""
    for user in output.consumers():
        undone = region.links.order(user)
        if undone is not None and move.fits(order, undone.inverse()):
            return undone.inverse()
    return move.output(order)


def _across(
    node: ir.Node, value: ir.Value, region: Region
) -> Iterator[tuple[ir.Value | None, AxisOrder]]:
    """The value at the other end of a link, if it is the other form of ``value``."""
    order = region.links.order(node)
    if order is None:
        return
    if node.inputs[0] is value and region.orders[value] == order.inverse():
        yield node.outputs[0], order
    if node.outputs[0] is value and region.orders[value] == order:
        yield node.inputs[0], order.inverse()


def _neighbours(value: ir.Value, graph: ir.Graph) -> Iterator[ir.Node]:
    producer = value.producer()
    if producer is not None and producer.graph is graph:
        yield producer
    for node in value.consumers():
        if node.graph is graph:
            yield node


def _fits(move: Mover, region: Region) -> bool:
    """Whether all inputs and outputs of a node agree; records it in ``as_is`` if applicable."""
    inputs = [move.node.inputs[place] for place in move.data]
    orders = {region.orders.get(value) for value in inputs if value is not None}
    forms = {region.forms.get(value) for value in inputs if value is not None}
    order, form = orders.pop(), forms.pop()
    if orders or forms or order is None:
        return False
    natural = move.output(order)
    if natural is not None and natural.is_identity():
        region.as_is.add(move.node)
        return move.fits(order, natural)
    return all(
        region.forms.get(output) == form and move.fits(order, region.orders[output])
        for output in move.node.outputs
    )


def _collect_tensors(graph: ir.Graph, region: Region) -> None:
    tensors: dict[ir.Value, Tensor] = {}
    for value in region.orders:
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
    if producer is None or producer.graph is not graph or not region.is_link(producer):
        return None
    return producer.inputs[0]


def _origin(value: ir.Value, region: Region) -> Hashable:
    producer = value.producer()
    free = producer in region.movers and producer not in region.as_is
    return producer if free else region.forms[value]


def _ends(value: ir.Value, graph: ir.Graph, region: Region) -> set[Hashable]:
    ends: set[Hashable] = set()
    if value.is_graph_output():
        ends.add(region.forms[value])
    for node in value.consumers():
        inside = node.graph is graph
        if inside and (region.is_link(node) or takes_over(node, region)):
            continue
        free = inside and node in region.movers
        ends.add(node if free else region.forms[value])
    return ends


def takes_over(node: ir.Node, region: Region) -> bool:
    """Whether ``node`` can read either form, such as a Transpose to a third one."""
    return (is_op(node, "Transpose") and region.links.order(node) is not None) or (
        region.links.takes_any_form(node)
    )
