"""Where a cut gives other shapes than the rules of the operators say, found without any weights.

ONNX's own inference tells the shapes of the whole graph and of the cut one. What does not go
along the channels has to stay as it is: places of a picture, steps of a sequence, the results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from converter.passes.shapes.infer_shapes import is_kept_whole, skeleton, without_bytes
from converter.pruning.groups.removal import apply_cut
from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.operators.channels import BoolArray
from converter.pruning.operators.rule import Axes, Use
from runtimes.onnx_graph.values import shape_of

Shapes = Mapping[str, tuple[int | None, ...]]


def find_misfit(model: ir.Model, dependencies: Dependencies, kept: Selection) -> ir.Node | None:
    """The first node of ``model`` whose results have other shapes than ``kept`` says, if any is."""
    if kept.units.all():
        return None
    node = _first_of_another_length(model, dependencies, kept)
    if node is not None:
        return node
    whole, cut = skeleton(model), skeleton(model)
    apply_cut(cut, dependencies, kept, _cut_outline)
    before, after = _inferred(whole), _inferred(cut)
    for node in model.graph:
        for value in node.outputs:
            name = str(value.name)
            axes = dependencies.axes.get(name, ())
            if name in before and not _fits(before[name], after.get(name), axes, kept):
                return node
    return None


def _first_of_another_length(
    model: ir.Model, dependencies: Dependencies, kept: Selection
) -> ir.Node | None:
    """The first node with an axis that has not as many places as there are channels along it."""
    uses: dict[str, list[Use]] = defaultdict(list)
    for use in dependencies.uses:
        uses[use.node].append(use)
    for node in model.graph:
        along = [(node.inputs[u.input], u.axis, u.channels) for u in uses[str(node.name)]]
        for value in node.outputs:
            axes = enumerate(dependencies.axes.get(str(value.name), ()))
            along += [(value, axis, channels) for axis, channels in axes if channels is not None]
        for one, axis, channels in along:
            if not kept.mask(channels).all() and not _has_length(one, axis, len(channels)):
                return node
    return None


def _has_length(value: ir.Value | None, axis: int, length: int) -> bool:
    if value is None or value.shape is None:
        return value is not None
    known = value.shape[axis] if axis < len(value.shape) else -1
    return not isinstance(known, int) or known == length


def _fits(
    before: tuple[int | None, ...],
    after: tuple[int | None, ...] | None,
    axes: Axes,
    kept: Selection,
) -> bool:
    if after is None or len(after) != len(before):
        return False
    along = axes if len(axes) == len(before) else (None,) * len(before)
    wanted = [
        size if channels is None or size is None else size - len(channels) + kept.count(channels)
        for size, channels in zip(before, along, strict=True)
    ]
    return all(size is None or size == now for size, now in zip(wanted, after, strict=True))


def _inferred(model: ir.Model) -> Shapes:
    """The shapes that follow from those of the inputs and weights alone."""
    for graph in model.graphs():
        for node in graph:
            for value in node.outputs:
                value.shape = None
    try:
        proto = onnx.shape_inference.infer_shapes(
            ir.to_proto(model), check_type=False, strict_mode=False, data_prop=True
        )
    except onnx.shape_inference.InferenceError:
        return {}
    return {
        info.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else None
            for dim in info.type.tensor_type.shape.dim
        )
        for info in (*proto.graph.value_info, *proto.graph.output)
        if info.type.tensor_type.HasField("shape")
    }


def _cut_outline(tensor: ir.TensorProtocol, along: Mapping[int, BoolArray]) -> ir.TensorProtocol:
    """A weight of the shape that is left, with its numbers where they may say a shape."""
    if is_kept_whole(tensor):
        array = tensor.numpy()
        for axis, mask in along.items():
            array = np.compress(mask, array, axis=axis)
        return ir.tensor(array, name=tensor.name)
    shape = list(shape_of(tensor))
    for axis, mask in along.items():
        shape[axis] = int(np.count_nonzero(mask))
    return without_bytes(tensor, shape)
