"""Bias absorption: the constant part of a channel moves into the biases behind it.

A channel that never falls below ``c`` behind a Relu spends codes on what is always there. Its
maker gives ``c`` less, and the operators that read it add what ``c`` would have given: the grid of
the tensor then covers what varies. Behind a Relu that holds for what calibration has seen (an input
that goes lower is cut there); without one between, any constant may move, and the middle of the
range does. Nagel et al. 2019 (arXiv:1906.04721), section 4.1.3, with minima that were seen in place
of three deviations of a normal distribution.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from quantizers.equalization.channel_groups import ChannelGroup, channel_groups
from runtimes.onnx_graph.linear import bias_of, rounded, write_bias
from runtimes.onnx_graph.rewrite import Refuse
from runtimes.onnx_graph.values import Array, is_op

Bounds = Mapping[str, tuple[Array, Array]]
"""Smallest and largest value of every channel, ``[channels]`` each, by the name of a value."""

# A range that narrows by less is not worth the risk of values that calibration has not seen.
_NARROWER = 0.9


def absorb_biases(
    model: ir.Model, bounds: Bounds, refuse: Refuse = lambda node, reason: None
) -> dict[str, Array]:
    """Move constant parts of channels wherever a range narrows by it.

    Within ``bounds`` the model computes the same. Gives what was moved, ``[channels]`` by value
    name; ``refuse`` is told where nothing could be.
    """
    moved: dict[str, Array] = {}
    for group in channel_groups(model.graph, refuse):
        value = _last(group)
        if value is None:
            continue
        offset = _offset(group, value, bounds)
        if offset is None:
            continue
        reader = next((one for one in group.readers if one.sees_border()), None)
        if reader is not None:
            refuse(reader.node, "its border would see zeros in place of the constant")
            continue
        _move(group, offset, model.graph)
        moved[str(value.name)] = offset
    return moved


def smaller_values(graph: ir.Graph, moved: Mapping[str, Array]) -> dict[str, Array]:
    """All values that ``moved`` made smaller: those themselves, and what a Relu made them of."""
    relus = [node for node in graph if is_op(node, "Relu") and node.outputs[0].name in moved]
    made = {
        str(node.inputs[0].name): moved[str(node.outputs[0].name)]
        for node in relus
        if node.inputs[0] is not None
    }
    return {**moved, **made}


def _last(group: ChannelGroup) -> ir.Value | None:
    """The one value that is read, where only a Relu stands behind the one that is made."""
    if len(group.makers) != 1 or group.norms or group.vectors:
        return None
    if any(one.bias is None for one in (*group.makers, *group.readers)):
        return None
    made = group.makers[0].node.outputs[0]
    read = {one.node.inputs[one.data] for one in group.readers}
    if len(read) != 1:
        return None
    (last,) = read
    if last is None or set(group.axes) != {made, last}:
        return None
    between = last.producer()
    straight = between is not None and is_op(between, "Relu") and between.inputs[0] is made
    if last is not made and not (straight and len(list(made.uses())) == 1):
        return None
    return last


def _offset(group: ChannelGroup, value: ir.Value, bounds: Bounds) -> Array | None:
    """What of each channel is constant; None where the grid would not narrow by it."""
    low, high = bounds.get(str(value.name), (np.zeros(0), np.zeros(0)))
    if low.shape != (group.channels,):
        return None
    low, high = low.astype(np.float64), high.astype(np.float64)
    behind_relu = value is not group.makers[0].node.outputs[0]
    offset = np.maximum(low, 0) if behind_relu else (low + high) / 2
    if _width(low - offset, high - offset) > _NARROWER * _width(low, high):
        return None
    return np.asarray(offset)


def _width(low: Array, high: Array) -> float:
    """Of the grid of a tensor, which has zero on it."""
    return float(max(high.max(), 0.0) - min(low.min(), 0.0))


def _move(group: ChannelGroup, offset: Array, graph: ir.Graph) -> None:
    (maker,) = group.makers
    write_bias(maker, rounded(bias_of(maker) - offset, maker.weight_value), graph)
    for reader in group.readers:
        added = bias_of(reader) + reader.response(reader.weight_array(), offset)
        write_bias(reader, rounded(added, reader.weight_value), graph)
