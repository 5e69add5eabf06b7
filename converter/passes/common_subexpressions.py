"""Compute equal nodes once: same operator, same inputs, same attributes."""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir

from converter.passes.base import Refuse, RewritePass
from converter.passes.values import is_constant, is_op, replace_value

# Their results differ between two calls with the same inputs.
_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
# Larger tensors are weights, and those are dedupe's business.
_SMALL_BYTES = 1 << 14


class MergeCommonSubexpressions(RewritePass):
    """Let the users of a repeated node use the first one, in each graph on its own.

    Nodes that draw random numbers, hold subgraphs, call functions or belong to another
    domain than ONNX's are left alone: only for the others is it certain that a second call
    gives the same result.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Merge repeated nodes in the main graph and in each subgraph."""
        modified = False
        for graph in tuple(model.graphs()):
            first: dict[Hashable, ir.Node] = {}
            for node in tuple(graph):
                key = _key(node)
                if key is None:
                    continue
                kept = first.setdefault(key, node)
                if kept is not node:
                    modified = _merge(graph, node, kept) or modified
        return modified


def is_random(node: ir.Node) -> bool:
    """Whether two runs of ``node`` on the same inputs may differ."""
    if is_op(node, "Dropout"):
        return len(node.inputs) > 2 and node.inputs[2] is not None
    return is_op(node, *_RANDOM)


def _key(node: ir.Node) -> Hashable:
    if node.domain != "" or is_random(node) or not node.inputs:
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        value = _hashable(attribute)
        if value is None:
            return None
        attributes.append((name, attribute.type, value))
    used = tuple(bool(output.name) for output in node.outputs)
    return node.op_type, tuple(_identity(i) for i in node.inputs), tuple(attributes), used


def _identity(value: ir.Value | None) -> Hashable:
    """The value itself, or what a small constant holds: exporters repeat those."""
    if value is None or value.const_value is None or not is_constant(value):
        return id(value)
    tensor = value.const_value
    if tensor.nbytes > _SMALL_BYTES or tensor.dtype == ir.DataType.STRING:
        return id(value)
    return tensor.dtype, tuple(tensor.shape), tensor.tobytes()


def _hashable(attribute: ir.Attr) -> Hashable:
    if attribute.is_ref():
        return None
    match attribute.type:
        case ir.AttributeType.INT | ir.AttributeType.FLOAT | ir.AttributeType.STRING:
            # repr tells 0.0 from -0.0 and lets a NaN equal itself.
            return repr(attribute.value)
        case ir.AttributeType.INTS | ir.AttributeType.FLOATS | ir.AttributeType.STRINGS:
            return repr(tuple(attribute.value))
        case ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.nbytes > _SMALL_BYTES or tensor.dtype == ir.DataType.STRING:
                return None
            return tensor.dtype, tuple(tensor.shape), tensor.tobytes()
        case _:
            return None


def _merge(graph: ir.Graph, node: ir.Node, kept: ir.Node) -> bool:
    pairs = list(zip(node.outputs, kept.outputs, strict=True))
    if any(old.is_graph_output() and new.is_graph_output() for old, new in pairs):
        # Two outputs of the graph need two values; an Identity would save nothing.
        return False
    for old, new in pairs:
        replace_value(old, new)
    graph.remove(node, safe=True)
    return True
