"""Operators that put many elements together: reductions, pooling, normalization over an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.rule import Axes, Edit, Kept, Recorder, Unknown, present
from runtimes.onnx_graph.values import add_initializer, small_ints

_SUMS = frozenset({"ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"})


def reduce(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Sums and means over channels read them; a maximum over them needs them all."""
    axes = record.input_axes(node, 0)
    reduced = _reduced_axes(node, len(axes))
    averaged = [axes[axis] for axis in sorted(reduced) if axes[axis] is not None]
    if node.op_type == "ReduceMean" and averaged:
        record.edit(node, _keep_divisor([one for one in averaged if one is not None]))
    for axis in reduced:
        channels = axes[axis]
        if channels is None:
            continue
        if node.op_type not in {*_SUMS, "ReduceMean"}:
            record.close(node, channels, "it is not a sum: a channel of zeros counts")
        record.use(node, 0, axis, channels, reads=True)
    if node.attributes.get_int("keepdims", 1):
        return [tuple(None if axis in reduced else one for axis, one in enumerate(axes))]
    return [tuple(one for axis, one in enumerate(axes) if axis not in reduced)]


def _reduced_axes(node: ir.Node, rank: int) -> set[int]:
    value = present(node, 1)
    axes = small_ints(value) if value is not None else node.attributes.get_ints("axes")
    if value is not None and axes is None:
        raise Unknown("its axes are not a constant")
    if not axes:
        noop = node.attributes.get_int("noop_with_empty_axes", 0)
        return set() if noop else set(range(rank))
    return {axis % rank for axis in axes}


def _keep_divisor(averaged: Sequence[IntArray]) -> Edit:
    """A mean over fewer channels is the mean with zeros times the share that stayed."""

    def rescale(node: ir.Node, kept: Kept) -> None:
        mean, source, graph = node.outputs[0], node.inputs[0], node.graph
        assert isinstance(graph, ir.Graph)
        assert source is not None
        assert source.dtype is not None
        left = math.prod(kept.count(channels) / len(channels) for channels in averaged)
        share = np.array(left, source.dtype.numpy())
        follower = next(
            (use.node for use in mean.uses() if use.node.name == f"{node.name}/kept_share"), None
        )
        if follower is not None:
            old = follower.inputs[1]
            assert old is not None
            old.const_value = ir.tensor(share, name=old.name)
            return
        factor = add_initializer(graph, f"{node.name}/kept_share", share)
        scaled = ir.node("Mul", [mean, factor], name=f"{node.name}/kept_share")
        scaled.metadata_props.update(node.metadata_props)
        result = scaled.outputs[0]
        result.type, result.shape = mean.type, mean.shape
        graph.insert_after(node, scaled)
        for user, index in mean.uses():
            if user is not scaled:
                user.replace_input_with(index, result)
        for index, output in enumerate(graph.outputs):
            if output is mean:
                graph.outputs[index] = result
        mean.name, result.name = f"{mean.name}/unscaled", mean.name

    return rescale


def over_axis(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Softmax and its like: what they normalize over has to stay as it is."""
    axes = record.input_axes(node, 0)
    graph = node.graph
    version = graph.opset_imports.get("", 0) if isinstance(graph, ir.Graph) else 0
    flattens = version < 13 and node.op_type not in {"LpNormalization", "CumSum"}
    default = 1 if flattens else -1
    axis = node.attributes.get_int("axis", default) % len(axes)
    if node.op_type == "CumSum":
        given = small_ints(node.inputs[1])
        if given is None:
            raise Unknown("its axis is not a constant")
        axis = given[0] % len(axes)
    last = len(axes) if flattens else axis + 1
    for closed in range(axis, last):
        record.close(node, axes[closed], "it normalizes over them")
    return [axes]


def pool(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Pooling over space: channels go through, each by itself."""
    axes = record.input_axes(node, 0)
    record.close_positions(node, axes, 1)
    return [(None, axes[1], *[None] * (len(axes) - 2))] * len(node.outputs)
