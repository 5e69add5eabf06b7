"""Taking channels out of a graph, and the same graph with those channels at zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.operators.channels import BoolArray
from converter.pruning.operators.rule import Use
from converter.pruning.operators.table import CHANNEL_AXIS
from runtimes.onnx_graph.values import (
    add_initializer,
    constant,
    drop_if_unused,
    is_constant,
    shape_of,
)

CutTensor = Callable[[ir.TensorProtocol, Mapping[int, BoolArray]], ir.TensorProtocol]
"""What is left of a tensor: by axis, which of its places stay."""


def remove_channels(model: ir.Model, dependencies: Dependencies, kept: Selection) -> None:
    """Cut ``model`` in place down to the channels that are ``kept``.

    ``dependencies`` are those of the model. Raises ``ValueError``, before anything is changed,
    where an axis would be left with nothing, or where the model's results or the samples, places
    or steps that a layer works on would be others.
    """
    _check(model, dependencies, kept)
    apply_cut(model, dependencies, kept, _cut_tensor)


def _check(model: ir.Model, dependencies: Dependencies, kept: Selection) -> None:
    if not dependencies.leaves_something(kept):
        raise ValueError("some axis would be left without any channel")
    for value in model.graph.outputs:
        for channels in dependencies.axes.get(str(value.name), ()):
            if channels is not None and not kept.mask(channels).all():
                raise ValueError(f"the output {value.name!r} would have another shape")
    for node in model.graph:
        own = CHANNEL_AXIS.get(node.op_type) if node.domain == "" else None
        axes = dependencies.axes.get(_first_input(node), ()) if own is not None else ()
        for axis, channels in enumerate(axes):
            if axis != own and channels is not None and not kept.mask(channels).all():
                where = f"{node.op_type} {node.name!r}"
                raise ValueError(f"{where} would work on another size along axis {axis}")


def _first_input(node: ir.Node) -> str:
    value = node.inputs[0]
    return "" if value is None else str(value.name)


def _cut_tensor(tensor: ir.TensorProtocol, along: Mapping[int, BoolArray]) -> ir.TensorProtocol:
    array = tensor.numpy()
    for axis, mask in along.items():
        array = np.compress(mask, array, axis=axis)
    return ir.tensor(np.ascontiguousarray(array), name=tensor.name)


def apply_cut(model: ir.Model, dependencies: Dependencies, kept: Selection, cut: CutTensor) -> None:
    """Cut weights by ``cut``, and bring attributes, shape constants and shapes in line."""
    nodes = {str(node.name): node for node in model.graph}
    for value, along in _cuts(nodes, dependencies, kept).items():
        if value.const_value is None or not is_constant(value):
            continue
        # Every user of a shared weight sees it cut alike, so the value itself may change.
        value.const_value = cut(value.const_value, along)
        value.const_value.name = value.name
        value.shape = ir.Shape(shape_of(value.const_value))
    for name, edit in dependencies.edits:
        edit(nodes[name], kept)
    for node in model.graph:
        for value in node.outputs:
            _cut_shape(value, dependencies, kept)


def _cuts(
    nodes: Mapping[str, ir.Node], dependencies: Dependencies, kept: Selection
) -> Mapping[ir.Value, Mapping[int, BoolArray]]:
    """For each value that nodes use, by axis, which of its places stay."""
    cuts: dict[ir.Value, dict[int, BoolArray]] = defaultdict(dict)
    for use in dependencies.uses:
        stays = kept.mask(use.channels)
        value = nodes[use.node].inputs[use.input]
        if value is not None and not stays.all():
            cuts[value][use.axis] = stays
    return cuts


def _cut_shape(value: ir.Value, dependencies: Dependencies, kept: Selection) -> None:
    axes = dependencies.axes.get(str(value.name))
    if axes is None or value.shape is None or len(value.shape) != len(axes):
        return
    value.shape = ir.Shape(
        dim if channels is None else kept.count(channels)
        for dim, channels in zip(value.shape, axes, strict=True)
    )


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
