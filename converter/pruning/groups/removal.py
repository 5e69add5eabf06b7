"""Taking channels out of a graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.operators.channels import BoolArray
from converter.pruning.operators.table import CHANNEL_AXIS
from runtimes.onnx_graph.values import (
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
