"""The same graph with some channels at zero, as the judge of a graph without them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.operators.channels import BoolArray
from converter.pruning.operators.rule import Use
from runtimes.onnx_graph.values import add_initializer, constant, drop_if_unused


def zero_channels(model: ir.Model, dependencies: Dependencies, kept: Selection) -> None:
    """Keep the whole graph, but let nothing see the channels that are not ``kept``: in place.

    This is what removing channels means: the model computes what it would if they were zero
    wherever a node sums over them, and if LayerNormalization did not count them.
    """
    nodes = {str(node.name): node for node in model.graph}
    for node in tuple(model.graph):
        if node.op_type == "LayerNormalization":
            _count_kept_only(node, dependencies, kept)
    for use in dependencies.uses:
        mask = kept.mask(use.channels)
        if use.reads and not mask.all():
            _mask_input(nodes[use.node], use, mask)


def _mask_input(node: ir.Node, use: Use, mask: BoolArray) -> None:
    """Put zeros where the mask is false along the axis of an input."""
    value, graph = node.inputs[use.input], node.graph
    assert value is not None
    assert value.dtype is not None
    assert isinstance(graph, ir.Graph)
    rank = len(value.shape) if value.shape is not None else use.axis + 1
    ones = mask.astype(value.dtype.numpy())
    ones = ones.reshape([-1 if axis == use.axis else 1 for axis in range(rank)])
    array = constant(value)
    if array is not None:
        zeroed = add_initializer(graph, f"{value.name}_zeroed", array * ones)
        node.replace_input_with(use.input, zeroed)
        drop_if_unused([value])
        return
    factor = add_initializer(graph, f"{node.name}/mask", ones)
    masked = ir.node("Mul", [value, factor], name=f"{node.name}/mask_{use.input}_{use.axis}")
    masked.outputs[0].name = f"{node.name}/masked_{use.input}_{use.axis}"
    masked.outputs[0].type, masked.outputs[0].shape = value.type, value.shape
    graph.insert_before(node, masked)
    node.replace_input_with(use.input, masked.outputs[0])


def _count_kept_only(node: ir.Node, dependencies: Dependencies, kept: Selection) -> None:
    """Let a LayerNormalization see the kept channels alone, and put its result in their places."""
    value, output, graph = node.inputs[0], node.outputs[0], node.graph
    assert value is not None
    assert isinstance(graph, ir.Graph)
    channels = dependencies.axes.get(str(value.name), (None,))[-1]
    if channels is None or kept.mask(channels).all():
        return
    mask = kept.mask(channels)
    places = add_initializer(graph, f"{node.name}/kept_places", np.flatnonzero(mask))
    picked = ir.node("Gather", [value, places], {"axis": -1}, name=f"{node.name}/pick")
    graph.insert_before(node, picked)
    node.replace_input_with(0, picked.outputs[0])
    for index in range(1, len(node.inputs)):
        array = constant(node.inputs[index])
        if array is not None:
            name = f"{node.name}/kept_{index}"
            node.replace_input_with(index, add_initializer(graph, name, array[..., mask]))
    assert value.dtype is not None
    matrix = np.eye(len(mask), dtype=value.dtype.numpy())[mask]
    spread = add_initializer(graph, f"{node.name}/places", matrix)
    back = ir.node("MatMul", [output, spread], name=f"{node.name}/spread")
    back.outputs[0].type, back.outputs[0].shape = output.type, output.shape
    graph.insert_after(node, back)
    for user, index in output.uses():
        if user is not back:
            user.replace_input_with(index, back.outputs[0])
    output.shape = None
    output.name, back.outputs[0].name = f"{output.name}/kept", output.name
