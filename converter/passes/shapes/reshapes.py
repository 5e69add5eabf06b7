"""Merge chains of nodes that change only the shape, not the order of the elements.

These are Reshape, Flatten, Squeeze, Unsqueeze, and a Transpose that only moves dimensions of size
one.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converter.passes.shapes.shape_data import dimensions
from converter.passes.shapes.static_shapes import reshape_target
from runtimes.onnx_graph.axis_order import order_of
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    add_initializer,
    all_nodes,
    can_be_output,
    is_op,
    only_user,
    replace_value,
)


class MergeReshapes(RewritePass):
    """Merge two consecutive such nodes into one Reshape, or none if the second undoes the first.

    Needs shapes: run ``InferShapes`` before. A pair is left alone if its first result is also used
    elsewhere, or if its result has two dimensions that are known only at run time and are at other
    positions than in the input. Two consecutive Transposes are left to ``MergeTransposes``.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Merge in the main graph and its subgraphs, in graph order."""
        modified = False
        for node in all_nodes(model):
            if node.graph is None or not _renames(node):
                continue
            modified = _merge(node) or modified
        return modified


def _renames(node: ir.Node) -> bool:
    if is_op(node, "Transpose"):
        order, dims = order_of(node), dimensions(node.inputs[0]) if node.inputs[0] else None
        if order is None or dims is None or order.rank != len(dims):
            return False
        wide = [axis for axis in order.places if axis is not None and dims[axis] != 1]
        return wide == sorted(wide)
    return is_op(node, "Reshape", "Flatten", "Squeeze", "Unsqueeze")


def _merge(node: ir.Node) -> bool:
    middle, graph = node.inputs[0], node.graph
    first = middle.producer() if middle is not None else None
    if middle is None or first is None or not _renames(first) or not isinstance(graph, ir.Graph):
        return False
    source, output = first.inputs[0], node.outputs[0]
    both_transpose = is_op(first, "Transpose") and is_op(node, "Transpose")
    if source is None or first.graph is not graph or both_transpose:
        return False
    have, want = dimensions(source), dimensions(output)
    if have is None or want is None:
        return False
    if have == want and (not output.is_graph_output() or can_be_output(source, graph)):
        replace_value(output, source)
        graph.remove(node, safe=True)
        return True
    target = reshape_target(have, want)
    if only_user(middle) is not node or target is None:
        return False
    shape = add_initializer(graph, f"{output.name}_shape", np.array(target, np.int64))
    merged = ir.node("Reshape", [source, shape], name=node.name)
    merged.metadata_props.update(node.metadata_props)
    graph.insert_before(node, merged)
    merged.outputs[0].type, merged.outputs[0].shape = output.type, output.shape
    name, output.name = output.name, None
    if output.is_graph_output():
        output.replace_all_uses_with(merged.outputs[0], replace_graph_outputs=True)
    else:
        output.replace_all_uses_with(merged.outputs[0])
    merged.outputs[0].name = name
    graph.remove(node, safe=True)
    graph.remove(first, safe=True)
    return True
