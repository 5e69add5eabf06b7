"""Compute equal nodes once: same operator, same inputs, same attributes."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Hashable, Iterator

import onnx_ir as ir

from runtimes.onnx_graph.evaluate import is_random
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import is_constant, replace_value

# Larger tensors are weights, which are left to deduplication.
_SMALL_BYTES = 1 << 14


class MergeCommonSubexpressions(RewritePass):
    """Make the users of a repeated node use the first one, also in bodies of If, Loop and Scan.

    A node in a body uses an equal node that an enclosing graph has already computed; two sibling
    bodies share nothing. Nodes with bodies are equal if their bodies compute the same from the same
    values. Nodes that draw random numbers (in their bodies, too), call functions or belong to a
    domain other than ONNX's are left alone: only for the others is it certain that a second call
    gives the same result.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Merge repeated nodes in the main graph and in each subgraph."""
        return _merge_in(model.graph, ChainMap())


def _merge_in(graph: ir.Graph, computed: ChainMap[Hashable, ir.Node]) -> bool:
    """Merge in ``graph`` and its subgraphs; ``computed``: nodes whose results it can use."""
    modified = False
    for node in tuple(graph):
        for body in _bodies(node):
            modified = _merge_in(body, computed.new_child()) or modified
        key = _key(node, {})
        if key is None:
            continue
        kept = computed.setdefault(key, node)
        if kept is not node:
            modified = _merge(graph, node, kept) or modified
    return modified


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS and not attribute.is_ref():
            yield from attribute.as_graphs()


def _key(node: ir.Node, inner: dict[ir.Value, int]) -> Hashable:
    """What ``node`` computes, and from what; ``inner`` numbers the values inside bodies."""
    if node.domain != "" or is_random(node) or not node.inputs:
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        value = _hashable(attribute, inner)
        if value is None:
            return None
        attributes.append((name, attribute.type, value))
    inputs = tuple(_identity(value, inner) for value in node.inputs)
    used = tuple(bool(output.name) for output in node.outputs)
    return node.op_type, inputs, tuple(attributes), used


def _identity(value: ir.Value | None, inner: dict[ir.Value, int]) -> Hashable:
    """The value itself, or the contents of a small constant, because exporters repeat those."""
    if value is not None and value in inner:
        return "inner", inner[value]
    if value is None or value.const_value is None or not is_constant(value):
        return id(value)
    return _small_content(value.const_value) or id(value)


def _small_content(tensor: ir.TensorProtocol) -> Hashable:
    if tensor.nbytes > _SMALL_BYTES or tensor.dtype == ir.DataType.STRING:
        return None
    return tensor.dtype, tuple(tensor.shape), tensor.tobytes()


def _body_key(graph: ir.Graph, inner: dict[ir.Value, int]) -> Hashable:
    """What a body computes: its nodes in order, with its own values numbered."""
    inner = dict(inner)
    for value in graph.inputs:
        inner[value] = len(inner)
    keys = []
    for node in graph:
        key = _key(node, inner)
        if key is None:
            return None
        keys.append(key)
        for value in node.outputs:
            inner[value] = len(inner)
    types = tuple((value.dtype, str(value.shape)) for value in graph.inputs)
    return types, tuple(keys), tuple(_identity(value, inner) for value in graph.outputs)


def _hashable(attribute: ir.Attr, inner: dict[ir.Value, int]) -> Hashable:
    match attribute.type if not attribute.is_ref() else None:
        case ir.AttributeType.INT | ir.AttributeType.FLOAT | ir.AttributeType.STRING:
            # repr distinguishes 0.0 from -0.0, and makes NaN equal to itself.
            return repr(attribute.value)
        case ir.AttributeType.INTS | ir.AttributeType.FLOATS | ir.AttributeType.STRINGS:
            return repr(tuple(attribute.value))
        case ir.AttributeType.TENSOR:
            return _small_content(attribute.as_tensor())
        case ir.AttributeType.GRAPH:
            return _body_key(attribute.as_graph(), inner)
        case _:
            return None


def _merge(graph: ir.Graph, node: ir.Node, kept: ir.Node) -> bool:
    pairs = list(zip(node.outputs, kept.outputs, strict=True))
    if kept.graph is not graph and any(old.is_graph_output() for old, _ in pairs):
        # The outputs of a body have to be computed in the body.
        return False
    if any(old.is_graph_output() and new.is_graph_output() for old, new in pairs):
        # Two graph outputs need two values; an Identity would save nothing.
        return False
    for old, new in pairs:
        replace_value(old, new)
    graph.remove(node, safe=True)
    return True
