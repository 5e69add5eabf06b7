"""Merge consecutive Transposes: two become one, or none if they cancel."""

from __future__ import annotations

import onnx_ir as ir

from runtimes.onnx_graph.axis_order import node_for, order_of
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import can_be_output, is_op, replace_value


class MergeTransposes(RewritePass):
    """Make a Transpose of a Transpose read the first one's input.

    The first one stays as long as something else uses it. Two that cancel stay between an input
    and an output of the graph, where their removal would be visible.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Merge in the main graph and its subgraphs, in graph order."""
        modified = False
        for graph in tuple(model.graphs()):
            modified = merge_transposes(graph) or modified
        return modified


def merge_transposes(graph: ir.Graph) -> bool:
    """Merge in one graph; return whether anything was merged."""
    modified = False
    for node in tuple(graph):
        if is_op(node, "Transpose"):
            modified = _merge(node) or modified
    return modified


def _merge(node: ir.Node) -> bool:
    middle, graph = node.inputs[0], node.graph
    first = middle.producer() if middle is not None else None
    if middle is None or first is None or not is_op(first, "Transpose") or graph is None:
        return False
    source, one, two = first.inputs[0], order_of(first), order_of(node)
    if source is None or one is None or two is None or first.graph is not graph:
        return False
    order, output = two.after(one), node.outputs[0]
    if order.is_identity() and (not output.is_graph_output() or can_be_output(source, graph)):
        replace_value(output, source)
        graph.remove(node, safe=True)
    else:
        node.replace_input_with(0, source)
        node.attributes.add(ir.AttrInt64s("perm", node_for(order)[1]))
    if not middle.uses() and not middle.is_graph_output():
        graph.remove(first, safe=True)
    return True
