"""Change image inputs to channels first, for callers that have their images in that layout."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

Layout = Literal["nhwc", "nchw"]
"""The layout of image inputs: channels last as in Keras, or channels first."""

_IMAGE_RANKS = (4, 5)


def channels_first(model: ir.Model, images: Collection[str]) -> None:
    """Change the inputs called ``images`` (rank 4 or 5) from channels last to first, in place.

    Each input gets a Transpose back, which later passes cancel against the Transpose before the
    first convolution.
    """
    for value in model.graph.inputs:
        shape = value.shape
        if value.name not in images or shape is None:
            continue
        rank = len(shape)
        uses = list(value.uses())
        back = _to_channels_last(model.graph, value, shape)
        back.outputs[0].name = f"{value.name}_channels_last"
        back.outputs[0].type, back.outputs[0].shape = value.type, shape
        value.shape = ir.Shape([shape[axis] for axis in to_channels_first(rank)])
        for node, index in uses:
            node.replace_input_with(index, back.outputs[0])
        model.graph.insert_before(model.graph[0], back)


def _to_channels_last(graph: ir.Graph, value: ir.Value, shape: ir.Shape) -> ir.Node:
    """A Transpose; for a single channel a Reshape, which is what exports contain and can merge."""
    inner = [dim for dim in shape[1:] if isinstance(dim, int)]
    if shape[-1] != 1 or len(inner) != len(shape) - 1:
        perm = [0, *range(2, len(shape)), 1]
        return ir.node("Transpose", [value], {"perm": perm}, name=f"{value.name}_layout")
    target = ir.tensor(np.array([-1, *inner], np.int64), name=f"{value.name}_layout_shape")
    constant = ir.Value(name=target.name, const_value=target)
    graph.register_initializer(constant)
    return ir.node("Reshape", [value, constant], name=f"{value.name}_layout")


def is_image(rank: int) -> bool:
    """Whether an input of this ``rank`` counts as images or volumes."""
    return rank in _IMAGE_RANKS


def to_channels_first(rank: int) -> Sequence[int]:
    """The permutation from channels last to channels first."""
    return [0, rank - 1, *range(1, rank - 1)]
