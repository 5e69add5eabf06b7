"""Taking channels out of a graph, and the same graph with those channels at zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from converter.passes.values import add_initializer, constant, drop_if_unused
from converter.pruning.channels import BoolArray
from converter.pruning.dependencies import Dependencies, Selection


def remove_channels(model: ir.Model, dependencies: Dependencies, kept: Selection) -> None:
    """Cut ``model`` in place down to the channels that are ``kept``.

    ``dependencies`` are those of the model. Raises ``ValueError`` where an axis would be left
    with nothing.
    """
    if not dependencies.leaves_something(kept):
        raise ValueError("some axis would be left without any channel")
    nodes = {str(node.name): node for node in model.graph}
    for value, along in _cuts(nodes, dependencies, kept).items():
        array = constant(value)
        if array is None:
            continue
        for axis, mask in along.items():
            array = np.compress(mask, array, axis=axis)
        # Every user of a shared weight sees it cut alike, so the value itself may change.
        value.const_value = ir.tensor(np.ascontiguousarray(array), name=value.name)
        value.shape = ir.Shape(array.shape)
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
    wherever a node sums over them.
    """
    nodes = {str(node.name): node for node in model.graph}
    for use in dependencies.uses:
        mask = kept.mask(use.channels)
        if not use.reads or mask.all():
            continue
        node = nodes[use.node]
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
            continue
        factor = add_initializer(graph, f"{node.name}/mask", ones)
        masked = ir.node("Mul", [value, factor], name=f"{node.name}/mask_{use.input}_{use.axis}")
        masked.outputs[0].name = f"{node.name}/masked_{use.input}_{use.axis}"
        masked.outputs[0].type, masked.outputs[0].shape = value.type, value.shape
        graph.insert_before(node, masked)
        node.replace_input_with(use.input, masked.outputs[0])
