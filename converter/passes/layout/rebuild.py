"""Rebuild the parts of a graph that will compute on the other form of their data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from converter.passes.layout.operators import rebuild
from converter.passes.layout.regions import Region, Tensor
from runtimes.onnx_graph.axis_order import AxisOrder, node_for
from runtimes.onnx_graph.values import Names, add_initializer, is_op, replace_value


def rearrange(graph: ir.Graph, region: Region, forms: Mapping[ir.Node, int]) -> None:
    """Make every mover compute on its form in ``forms``."""
    _Builder(graph, region, forms).build()


class _Builder:
    """Values by tensor and form, created on demand."""

    def __init__(self, graph: ir.Graph, region: Region, forms: Mapping[ir.Node, int]) -> None:
        self.graph, self.region = graph, region
        self.names = Names(graph)
        self.moved = {n for n, form in forms.items() if form != region.form_now(n)}
        self.tensor_of = {value: t for t in region.tensors for value in t.members}
        self.values: dict[tuple[ir.Value, int], ir.Value] = {}
        for tensor in region.tensors:
            if tensor.origin not in self.moved:
                # Of a tensor that stays as it is, both existing forms can be used.
                for value in (tensor.root, *tensor.members):
                    self.values.setdefault((tensor.root, region.forms[value]), value)

    def build(self) -> None:
        """Create the new nodes, connect them, and remove the old ones."""
        present = set(self.values.values())
        chosen = [node for node in self.graph if node in self.moved]
        for node in chosen:
            self._rebuild(node)
        for tensor in self.region.tensors:
            for value in tensor.members:
                self._retarget_transposes(tensor, value)
        for tensor in self.region.tensors:
            for value in tensor.members:
                if value not in present:
                    self._replace(tensor, value)
        gone = set(chosen)
        for node in reversed(self.graph):
            if self.region.links.order(node) is not None:
                result = node.outputs[0]
                used = any(use.node not in gone for use in result.uses())
                if not used and not result.is_graph_output():
                    gone.add(node)
        self.graph.remove(gone, safe=True)
        # An existing link may come after its new users.
        self.graph.sort()

    def _rebuild(self, node: ir.Node) -> None:
        region, move = self.region, self.region.movers[node]
        form = 1 - region.form_now(node)
        order = region.orders[region.data(node)]
        as_is = node in region.as_is
        output = move.output(order) if as_is else region.orders[node.outputs[0]]
        assert output is not None
        inputs = {place: self._value(node.inputs[place], form) for place in move.data}
        new = rebuild(move, order, output, inputs, self.graph)
        self.graph.insert_before(node, new)
        for old, made in zip(node.outputs, new.outputs, strict=True):
            made.name = self.names.take(f"{old.name}_transposed")
            if as_is:
                replace_value(old, made)
            else:
                self.values[self.tensor_of[old].root, form] = made

    def _value(self, value: ir.Value | None, form: int) -> ir.Value:
        """The tensor of ``value`` in ``form``: an existing value, or one from a new link."""
        assert value is not None
        tensor = self.tensor_of[value]
        root = tensor.root
        if (root, form) not in self.values:
            # ``orders`` refers to the root's form in the original graph.
            order = self.region.orders[root]
            if self.region.forms[root] != form:
                order = order.inverse()
            same = (v.name for v in tensor.members if self.region.forms[v] == form)
            source = self.values[root, 1 - form]
            self.values[root, form] = self._link(source, order, next(same, None), root)
        return self.values[root, form]

    def _link(
        self, source: ir.Value, order: AxisOrder, name: str | None, root: ir.Value
    ) -> ir.Value:
        """A new form of ``source``, inserted right after its producer."""
        if name is not None:
            # The value with this name is about to be replaced by the new one.
            self.names.free(name)
        name = self.names.take(name or f"{root.name}_transposed")
        op, numbers = node_for(order)
        if op == "Transpose":
            node = ir.node(op, [source], {"perm": numbers}, name=f"{name}/{op}")
        else:
            axes = add_initializer(self.graph, f"{name}_axes", np.array(numbers, np.int64))
            node = ir.node(op, [source, axes], name=f"{name}/{op}")
        node.outputs[0].name = name
        producer = source.producer()
        if producer is not None and producer.graph is self.graph:
            node.metadata_props.update(producer.metadata_props)
            self.graph.insert_after(producer, node)
        else:
            self.graph.insert_before(self.graph[0], node)
        node.outputs[0].type = source.type
        node.outputs[0].shape = order.inverse().shape(source.shape)
        return node.outputs[0]

    def _retarget_transposes(self, tensor: Tensor, value: ir.Value) -> None:
        """Make Transposes to a third form read the form that will exist."""
        form = self.region.forms[value]
        if (tensor.root, form) in self.values:
            return
        for node in value.consumers():
            order = self.region.links.order(node) if is_op(node, "Transpose") else None
            if order is None or node.graph is not self.graph or self.region.is_link(node):
                continue
            node.replace_input_with(0, self.values[tensor.root, 1 - form])
            order = order.after(self.region.orders[value])
            node.attributes.add(ir.AttrInt64s("perm", node_for(order)[1]))

    def _replace(self, tensor: Tensor, value: ir.Value) -> None:
        """Give unchanged users of ``value`` its tensor in the form that they expect."""
        staying = [
            use
            for use in value.uses()
            if use.node not in self.moved and not self.region.is_link(use.node)
        ]
        if not staying and not value.is_graph_output():
            return
        made = self._value(value, self.region.forms[value])
        if value.is_graph_output() and made.is_graph_output():
            node = ir.node("Identity", [made])
            node.outputs[0].type = made.type
            self.graph.append(node)
            made = node.outputs[0]
        replace_value(value, made)
