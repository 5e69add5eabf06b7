"""Rebuild the parts of a graph that are to compute in the other order of axes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from converter.passes.layout_region import Region, Tensor, links
from converter.passes.layout_rules import compose, inverse, rebuild, stored_shape
from converter.passes.transposes import perm_of
from converter.passes.values import Names, is_op, replace_value


def rearrange(graph: ir.Graph, region: Region, orders: Mapping[ir.Node, int]) -> None:
    """Let every mover compute in the order that ``orders`` gives it."""
    _Builder(graph, region, orders).build()


class _Builder:
    """Values by tensor and order, made when first asked for."""

    def __init__(self, graph: ir.Graph, region: Region, orders: Mapping[ir.Node, int]) -> None:
        self.graph, self.region = graph, region
        self.names = Names(graph)
        self.moved = {n for n, order in orders.items() if order != region.order_now(n)}
        self.tensor_of = {value: t for t in region.tensors for value in t.members}
        self.forms: dict[tuple[ir.Value, int], ir.Value] = {}
        for tensor in region.tensors:
            if tensor.origin not in self.moved:
                self._note_present_forms(tensor)

    def _note_present_forms(self, tensor: Tensor) -> None:
        """What stays as it is can be used in both orders that are there already."""
        for value in (tensor.root, *tensor.members):
            self.forms.setdefault((tensor.root, self.region.orders[value]), value)

    def build(self) -> None:
        """Make the new nodes, hand them over, and take the old ones away."""
        region = self.region
        present = set(self.forms.values())
        chosen = [node for node in self.graph if node in self.moved]
        for node in chosen:
            self._rebuild(node)
        for tensor in region.tensors:
            for value in tensor.members:
                self._retarget_transposes(tensor, value)
        for tensor in region.tensors:
            for value in tensor.members:
                if value not in present:
                    self._replace(tensor, value)
        gone = set(chosen)
        for node in reversed(self.graph):
            if is_op(node, "Transpose"):
                result = node.outputs[0]
                used = any(use.node not in gone for use in result.uses())
                if not used and not result.is_graph_output():
                    gone.add(node)
        self.graph.remove(gone, safe=True)
        # A Transpose that was there already may stand after its new users.
        self.graph.sort()

    def _rebuild(self, node: ir.Node) -> None:
        region, move = self.region, self.region.movers[node]
        order = 1 - region.order_now(node)
        perm = region.perms[region.data(node)]
        output = region.perms.get(node.outputs[0]) if node not in region.as_is else None
        inputs = {place: self._form(node.inputs[place], order) for place in move.data}
        new = rebuild(move, perm, output or move.output(perm), inputs, self.graph)
        self.graph.insert_before(node, new)
        for old, made in zip(node.outputs, new.outputs, strict=True):
            made.name = self.names.take(f"{old.name}_transposed")
            if output is None:
                replace_value(old, made)
            else:
                self.forms[self.tensor_of[old].root, order] = made

    def _form(self, value: ir.Value | None, order: int) -> ir.Value:
        """The tensor of ``value`` in ``order``: there already, or a new Transpose."""
        assert value is not None
        root = self.tensor_of[value].root
        if (root, order) not in self.forms:
            source = self.forms[root, 1 - order]
            # ``perms`` belongs to the order that the root has in the graph as it was.
            perm = self.region.perms[root]
            if self.region.orders[root] != order:
                perm = inverse(perm)
            name = next(
                (v.name for v in self._members(root) if self.region.orders[v] == order), None
            )
            self.forms[root, order] = self._transpose(source, perm, name, root)
        return self.forms[root, order]

    def _members(self, root: ir.Value) -> list[ir.Value]:
        return self.tensor_of[root].members

    def _transpose(
        self, source: ir.Value, perm: tuple[int, ...], name: str | None, root: ir.Value
    ) -> ir.Value:
        """A new Transpose of ``source``, right after it has been computed."""
        if name is not None:
            # Its bearer is about to be replaced by what is made here.
            self.names.free(name)
        name = self.names.take(name or f"{root.name}_transposed")
        node = ir.node("Transpose", [source], {"perm": perm}, name=f"{name}/Transpose")
        node.outputs[0].name = name
        producer = source.producer()
        if producer is not None and producer.graph is self.graph:
            node.metadata_props.update(producer.metadata_props)
            self.graph.insert_after(producer, node)
        else:
            self.graph.insert_before(self.graph[0], node)
        node.outputs[0].type = source.type
        node.outputs[0].shape = stored_shape(source.shape, inverse(perm))
        return node.outputs[0]

    def _retarget_transposes(self, tensor: Tensor, value: ir.Value) -> None:
        """Let Transposes to a third order read what will be there."""
        order = self.region.orders[value]
        if (tensor.root, order) in self.forms:
            return
        for node in value.consumers():
            if not is_op(node, "Transpose") or node.graph is not self.graph:
                continue
            perm = perm_of(node)
            if perm is not None and not links(node, self.region):
                perm = compose(self.region.perms[value], perm)
                node.replace_input_with(0, self.forms[tensor.root, 1 - order])
                node.attributes.add(ir.AttrInt64s("perm", perm))

    def _replace(self, tensor: Tensor, value: ir.Value) -> None:
        """Give what stays and still uses ``value`` its tensor in the order that it knows."""
        staying = [
            use
            for use in value.uses()
            if use.node not in self.moved
            and not (is_op(use.node, "Transpose") and links(use.node, self.region))
        ]
        if not staying and not value.is_graph_output():
            return
        form = self._form(value, self.region.orders[value])
        if value.is_graph_output() and form.is_graph_output():
            node = ir.node("Identity", [form])
            node.outputs[0].type = form.type
            self.graph.append(node)
            form = node.outputs[0]
        replace_value(value, form)
