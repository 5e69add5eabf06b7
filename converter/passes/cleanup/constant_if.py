"""Replace an If whose condition is constant by the branch that it takes."""

from __future__ import annotations

import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    all_nodes,
    can_be_output,
    constant,
    is_op,
    replace_value,
    unused_name,
)


class ResolveConstantIf(RewritePass):
    """Replace an If with a constant condition by the nodes of the branch that it takes.

    Exporters write conditions on shapes that become known later. Nested Ifs are resolved along with
    outer ones. A value that the branch returns unchanged goes through an Identity if the If's
    output is an output of the graph, so that the output keeps its name.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Resolve such Ifs in the main graph and its subgraphs until none is left."""
        modified = False
        while (node := _first_known(model)) is not None:
            _inline(node)
            modified = True
        return modified


def _first_known(model: ir.Model) -> ir.Node | None:
    for node in all_nodes(model):
        if is_op(node, "If") and isinstance(node.graph, ir.Graph):
            condition = constant(node.inputs[0])
            if condition is not None and condition.size == 1:
                return node
    return None


def _inline(node: ir.Node) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    taken = bool(constant(node.inputs[0]))
    branch = node.attributes["then_branch" if taken else "else_branch"].as_graph()
    results = list(branch.outputs)
    branch.outputs.clear()
    for value in tuple(branch.initializers.values()):
        branch.initializers.pop(str(value.name))
        value.name = unused_name(graph, str(value.name))
        graph.register_initializer(value)
    for inner in tuple(branch):
        branch.remove(inner)
        graph.insert_before(node, inner)
    for output, result in zip(node.outputs, results, strict=True):
        _hand_over(node, output, result, graph)
    graph.remove(node, safe=True)


def _hand_over(node: ir.Node, output: ir.Value, result: ir.Value, graph: ir.Graph) -> None:
    """Make the users of an output of the If use the result of the branch."""
    if output.is_graph_output() and not can_be_output(result, graph):
        through = ir.node("Identity", [result], name=f"{node.name}_{output.name}")
        through.metadata_props.update(node.metadata_props)
        through.outputs[0].type, through.outputs[0].shape = output.type, output.shape
        graph.insert_before(node, through)
        result = through.outputs[0]
    replace_value(output, result)
