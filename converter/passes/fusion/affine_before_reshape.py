"""Move elementwise nodes with constants before the Reshape that splits a linear result.

MultiHeadAttention splits the result of a matrix product into heads, and only then adds the bias
and scales the query: reshape(x)·c = reshape(x·c'), where c' is c broadcast over the split axes and
flattened. Before the Reshape, ``FoldAffineIntoPrecedingLinear`` can fold them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.affine import FLOATS
from runtimes.onnx_graph.linear import linear_of
from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import (
    Array,
    add_initializer,
    all_nodes,
    constant,
    drop_if_unused,
    is_constant,
    is_op,
    only_user,
    refine_shape,
    replace_value,
)

_ELEMENTWISE = ("Add", "Sub", "Mul", "Div")


class MoveAffineBeforeReshape(RewritePass):
    """Move Add, Sub, Mul and Div by a constant before the Reshape that they follow.

    Only if they can then be folded: the Reshape follows a linear operator with a constant weight,
    possibly with such nodes in between, and no result is used elsewhere. There may be Transposes
    between the Reshape and the node. Needs shapes: run ``InferShapes`` before.

    Refused: a constant that varies along an axis other than those that the last axis is split into,
    and results that are also used elsewhere.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Move in the main graph and its subgraphs, in graph order."""
        modified = False
        for node in all_nodes(model):
            if node.graph is None or not is_op(node, "Reshape") or not _splits_linear(node):
                continue
            while True:
                path = _path(node)
                if path is None:
                    break
                try:
                    _move(node, *path)
                except Refused as reason:
                    refuse(path[0], f"not moved before {node.name!r}: {reason}")
                    break
                modified = True
        return modified


def _splits_linear(reshape: ir.Node) -> bool:
    """Whether the data come from a linear operator, possibly shifted and scaled."""
    value = reshape.inputs[0]
    while value is not None and only_user(value) is not None:
        node = value.producer()
        if node is None or node.graph is not reshape.graph:
            return False
        try:
            if linear_of(node) is not None:
                return True
        except Refused:
            return False
        operands = _operands(node)
        if operands is None:
            return False
        value = operands[0]
    return False


def _operands(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """Data and constant of an elementwise node."""
    if not is_op(node, *_ELEMENTWISE) or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is None or right is None or is_constant(left) == is_constant(right):
        return None
    data, operand = (right, left) if is_constant(left) else (left, right)
    tensor = operand.const_value
    return (data, operand) if tensor is not None and tensor.dtype in FLOATS else None


def _path(reshape: ir.Node) -> tuple[ir.Node, list[ir.Node]] | None:
    """The elementwise node after a Reshape, and the Transposes in between."""
    between: list[ir.Node] = []
    value = reshape.outputs[0]
    while True:
        users = {use.node for use in value.uses()}
        node = only_user(value)
        if node is None:
            # Give the reason if one of the users would have been moved.
            node = next((user for user in users if _operands(user) is not None), None)
            return None if node is None else (node, between)
        if node.graph is not reshape.graph:
            return None
        if is_op(node, "Transpose"):
            between.append(node)
            value = node.outputs[0]
            continue
        return (node, between) if _operands(node) is not None else None


def _move(reshape: ir.Node, node: ir.Node, between: Sequence[ir.Node]) -> None:
    graph, source = reshape.graph, reshape.inputs[0]
    operands = _operands(node)
    assert source is not None
    assert operands is not None
    data, operand = operands
    if not isinstance(graph, ir.Graph):
        raise Refused("it belongs to a function")
    if only_user(data) is None:
        what = "an output of the graph" if data.is_graph_output() else "used elsewhere"
        raise Refused(f"its input {data.name!r} is {what} too")
    numbers = constant(operand)
    assert numbers is not None
    moved = numbers.reshape(()) if numbers.size == 1 else _flattened(numbers, reshape, between)
    if data.shape is None or numbers.ndim > len(data.shape):
        raise Refused("its constant has more dimensions than the data")
    value = operand
    if moved.shape != numbers.shape:
        value = add_initializer(graph, operand.name or "constant", np.ascontiguousarray(moved))
    inputs = [source if each is data else value for each in node.inputs]
    before = ir.node(node.op_type, inputs, name=node.name)
    before.metadata_props.update(node.metadata_props)
    result, output = before.outputs[0], node.outputs[0]
    result.type = source.type
    refine_shape(result, source.shape)
    name = output.name
    graph.insert_before(reshape, before)
    reshape.replace_input_with(0, result)
    replace_value(output, data)
    graph.remove(node, safe=True)
    if not data.is_graph_output():
        result.name = name
    drop_if_unused([operand])


def _flattened(numbers: Array, reshape: ir.Node, between: Sequence[ir.Node]) -> Array:
    """The constant as one number for each element of the last axis before the Reshape."""
    source, output = reshape.inputs[0], reshape.outputs[0]
    assert source is not None
    last = source.shape[-1] if source.shape else None
    if output.shape is None or not isinstance(last, int):
        raise Refused("the shapes are not known")
    rank = len(output.shape)
    if numbers.ndim > rank:
        raise Refused("its constant has more dimensions than the data")
    spread = numbers.reshape((1,) * (rank - numbers.ndim) + numbers.shape)
    for transpose in reversed(between):
        perm = transpose.attributes.get_ints("perm", range(rank)[::-1])
        spread = np.transpose(spread, np.argsort(perm))
    # If the last dimensions have as many elements as the last axis had, it was split into them,
    # whatever happened to the axes before.
    for count in range(1, rank + 1):
        dims = [dim for dim in output.shape[rank - count :] if isinstance(dim, int)]
        if len(dims) == count and math.prod(dims) == last:
            if any(dim != 1 for dim in spread.shape[: rank - count]):
                break
            return np.broadcast_to(spread.reshape(spread.shape[rank - count :]), dims).reshape(-1)
    raise Refused("its constant varies along an axis that was not split from the last one")
