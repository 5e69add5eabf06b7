"""Flatten without a Transpose: reorder the rows of the Dense weight instead.

A Dense layer after Flatten expects height, width and channels in TensorFlow's order, while the
convolution before it computes channels first: x.transpose.flatten @ W = x.flatten @ W', where
W' has the rows of W in the order in which x is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.axis_order import order_of
from runtimes.onnx_graph.linear import Linear, linear_of, write_weight
from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import all_nodes, is_op, only_user, static_shape


class FoldFlattenedTransposes(RewritePass):
    """Fold a Transpose into the MatMul or Gemm that follows it through a Reshape.

    Needs shapes: run ``InferShapes`` before. Refused: a Transpose that moves the batch or a
    dimension of unknown size, results that are also used elsewhere, and a shared weight.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            reshape = (
                _producer(node, "Reshape", "Flatten") if is_op(node, "MatMul", "Gemm") else None
            )
            transpose = _producer(reshape, "Transpose") if reshape is not None else None
            if reshape is None or transpose is None:
                continue
            try:
                linear = linear_of(node)
                if linear is None or linear.data != 0:
                    continue
                _fold(transpose, reshape, linear)
                modified = True
            except Refused as reason:
                refuse(transpose, f"not folded into {node.name!r}: {reason}")
        return modified


def _producer(node: ir.Node, *op_types: str) -> ir.Node | None:
    value = node.inputs[0]
    producer = value.producer() if value is not None else None
    same = producer is not None and producer.graph is node.graph
    return producer if same and is_op(producer, *op_types) else None


def takes_any_order(reshape: ir.Node) -> bool:
    """Whether a Transpose before this node could be folded into a weight after it."""
    source = reshape.inputs[0] if is_op(reshape, "Reshape", "Flatten") else None
    user = only_user(reshape.outputs[0]) if source is not None else None
    if source is None or user is None or not is_op(user, "MatMul", "Gemm"):
        return False
    try:
        linear = linear_of(user)
        if linear is None or linear.data != 0:
            return False
        _sample_shape(source, reshape, linear)
    except Refused:
        return False
    return True


def through_flatten(linear: Linear) -> Iterator[Linear]:
    """The operator as it acts on samples before they are flattened, if it reads flattened ones.

    Channels may be the first or the last axis of a sample; both are yielded, in this order.
    """
    source = _producer(linear.node, "Reshape", "Flatten") if linear.data == 0 else None
    before = source.inputs[0] if source is not None else None
    if source is None or before is None:
        return
    try:
        sample = _sample_shape(before, source, linear)
    except Refused:
        return
    for axis in dict.fromkeys((0, len(sample) - 1)):
        yield replace(linear, sample=sample, sample_axis=axis, input_channels=sample[axis])


def _sample_shape(source: ir.Value, reshape: ir.Node, linear: Linear) -> tuple[int, ...]:
    """Shape of one sample before it is flattened; ``Refused`` if the weight cannot be adapted."""
    flat, weight = reshape.outputs[0], linear.weight_value
    if only_user(source) is not reshape or only_user(flat) is not linear.node:
        raise Refused("its result is used elsewhere too")
    if weight.const_value is None or len(weight.const_value.shape) != 2 or linear.input_axis != -1:
        raise Refused("the weight is not a matrix on the right")
    if len(weight.uses()) > 1 or weight.is_graph_output():
        raise Refused(f"the weight {weight.name!r} is shared with another node")
    dims = _flattened(source, flat)
    if dims is None or math.prod(dims) != linear.input_channels:
        raise Refused("what follows does not flatten exactly one sample")
    return dims


def _fold(transpose: ir.Node, reshape: ir.Node, linear: Linear) -> None:
    order, weight = order_of(transpose), linear.weight_value
    if order is None or order.places[0] != 0:
        raise Refused("it moves the batch")
    dims = _sample_shape(transpose.outputs[0], reshape, linear)
    assert weight.const_value is not None
    rows = weight.const_value.numpy()
    if linear.transposed:
        rows = rows.T
    rows = rows.reshape(*dims, linear.output_channels)
    sample = order.without([0])
    assert sample is not None
    back = sample.carry(range(len(dims)), 0)
    rows = np.transpose(rows, (*back, len(dims))).reshape(linear.input_channels, -1)
    graph = linear.node.graph
    assert isinstance(graph, ir.Graph)
    rows = np.ascontiguousarray(rows.T if linear.transposed else rows)
    write_weight([linear], rows, graph)
    reshape.replace_input_with(0, transpose.inputs[0])
    graph.remove(transpose, safe=True)


def _flattened(middle: ir.Value, flat: ir.Value) -> tuple[int, ...] | None:
    """The dimensions of a sample, if ``flat`` is (batch, their product)."""
    if middle.shape is None or flat.shape is None or len(flat.shape) != 2:
        return None
    sample = static_shape(ir.Value(shape=ir.Shape(middle.shape[1:])))
    if sample is None or flat.shape[1] != math.prod(sample):
        return None
    return sample
