"""Fold per-channel affine nodes into the linear operator before them.

scale · (W*x + b) + offset = (scale·W)*x + (scale·b + offset), channel by channel, for Conv
(including depthwise and grouped), ConvTranspose, Gemm and MatMul: BatchNormalization disappears
from inference. Section 3.2 of https://arxiv.org/abs/1712.05877 .
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.affine import IDENTITY, Affine, affine_of
from runtimes.onnx_graph.channel_axis import Channel, Commutes, commutes
from runtimes.onnx_graph.linear import (
    Linear,
    bias_of,
    linear_of,
    rounded,
    write_bias,
    write_weight,
)
from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass, describe
from runtimes.onnx_graph.values import (
    Array,
    add_initializer,
    all_nodes,
    is_constant,
    only_user,
    rank,
    replace_value,
    unused_name,
)


class FoldAffineIntoPrecedingLinear(RewritePass):
    """Fold Mul, Add, Sub, Div and BatchNormalization after a linear operator into it.

    Chains are folded as a whole, through Transpose, Squeeze, Unsqueeze and pooling, computed in
    float64 and rounded once to the type of the weight. MatMul has no bias, so one Add remains.

    Nodes that share a weight (a layer that is called twice) are folded together if the same scale
    follows each of them.

    Refused: a weight that is used in any other way, a result that is used elsewhere or is an
    output, constants that are not one number per channel along the channel axis, weights that
    are not floating-point constants, and numbers that the type of the weight cannot hold.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            try:
                linear = linear_of(node)
            except Refused as reason:
                user = only_user(node.outputs[0])
                if user is not None and _is_affine(user):
                    refuse(user, f"not folded into {node.name!r}: {reason}")
                continue
            if linear is None or node.graph is None:
                continue
            chain = _chain(linear, refuse)
            if not chain.nodes or _gains_nothing(linear, chain):
                continue
            try:
                _fold(linear, chain)
                modified = True
            except Refused as reason:
                refuse(chain.nodes[0], str(reason))
        return modified


@dataclass(frozen=True)
class _Chain:
    """The affine nodes after a linear operator, in order, and their combined map."""

    nodes: tuple[ir.Node, ...]
    total: Affine


def _chain(linear: Linear, refuse: Refuse) -> _Chain:
    """Follow the affine nodes after ``linear`` as long as each can be folded into it."""
    value, channel = linear.node.outputs[0], _output_channel(linear)
    nodes: list[ir.Node] = []
    total = IDENTITY
    keeps_order = False
    while True:
        user = only_user(value)
        if user is None or user.graph is not linear.node.graph:
            for use in value.uses():
                if _is_affine(use.node):
                    what = "an output of the graph" if value.is_graph_output() else "used elsewhere"
                    refuse(use.node, f"its input {value.name!r} is {what} too")
                    break
            return _Chain(tuple(nodes), total)
        moved = channel.after(user)
        if moved is not None:
            channel, value = moved, user.outputs[0]
            keeps_order = keeps_order or commutes(user) is Commutes.NOT_NEGATIVE
            continue
        try:
            found = affine_of(user, channel.rank)
            if found is None:
                return _Chain(tuple(nodes), total)
            check_fit(found[1], channel, linear.output_channels, keeps_order=keeps_order)
        except Refused as reason:
            refuse(user, str(reason))
            return _Chain(tuple(nodes), total)
        total = total.then(found[1])
        nodes.append(user)
        value = user.outputs[0]


def check_fit(
    affine: Affine, channel: Channel, channels: int, *, keeps_order: bool = False
) -> None:
    """Raise ``Refused`` unless ``affine`` acts only along these channels.

    ``keeps_order``: there is a maximum in between, with which a negative scale does not commute.
    """
    if affine.constant_rank > (1 if channel.rank is None else channel.rank):
        raise Refused("its constant has more dimensions than the data")
    if affine.axis is None:
        return
    if affine.axis != channel.axis:
        raise Refused(
            f"its constant is along axis {affine.axis}, counted from the end, "
            f"but the channels are along {channel.axis}"
        )
    if affine.channels != channels:
        raise Refused(f"its constant has {affine.channels} numbers for {channels} channels")
    if keeps_order and np.any(affine.scale < 0):
        raise Refused("its scale is negative in a channel, and a maximum is in between")


def _is_affine(node: ir.Node) -> bool:
    try:
        return affine_of(node) is not None
    except Refused:
        return True


def _output_channel(linear: Linear) -> Channel:
    """The axis of the output channels; a convolution's output has the rank of its weight."""
    output = linear.node.outputs[0]
    weight = linear.weight_value.const_value
    known = len(weight.shape) if linear.bias is not None and weight is not None else rank(output)
    return Channel(linear.output_axis, known)


def _gains_nothing(linear: Linear, chain: _Chain) -> bool:
    """Whether the chain is a MatMul and a single Add, which folding would leave anyway."""
    return linear.bias is None and chain.total.only_adds() and len(chain.nodes) == 1


def _fold(linear: Linear, chain: _Chain) -> None:
    """Fold one chain, or the chains of all nodes that share a weight."""
    value, graph = linear.weight_value, linear.node.graph
    if not isinstance(graph, ir.Graph):
        raise Refused("it belongs to a function")
    pairs = [(linear, chain)]
    weight = None
    if not chain.total.only_adds():
        pairs = _with_partners(linear, chain)
        if value.is_graph_output():
            raise Refused(f"the weight {value.name!r} is an output of the graph")
        weight = linear.with_scaled_outputs(chain.total.scale)
    biases = [_folded_bias(one, links.total) for one, links in pairs]
    if weight is not None:
        write_weight([one for one, _ in pairs], weight, graph)
    for (one, links), bias in zip(pairs, biases, strict=True):
        remove_affine(links.nodes)
        set_bias(one, bias, graph)


def _with_partners(linear: Linear, chain: _Chain) -> list[tuple[Linear, _Chain]]:
    """All nodes that use the weight, if the same scale follows each (a shared layer)."""
    pairs: list[tuple[Linear, _Chain]] = []
    value, scale = linear.weight_value, chain.total.scale
    for user, place in value.uses():
        try:
            other = linear_of(user)
        except Refused:
            other = None
        links = _chain(other, lambda node, reason: None) if other is not None else None
        if (
            other is None
            or links is None
            or place != other.weight
            or user.op_type != linear.node.op_type
            or user.graph is not linear.node.graph
            or other.groups != linear.groups
            or other.transposed != linear.transposed
            or not np.array_equal(links.total.scale, scale)
        ):
            raise Refused(f"the weight {value.name!r} is shared with {describe(user)}")
        pairs.append((other, links))
    return pairs


def _folded_bias(linear: Linear, total: Affine) -> Array:
    offset = bias_of(linear) * total.scale + total.offset
    return rounded(np.broadcast_to(offset, (linear.output_channels,)), linear.weight_value)


def remove_affine(nodes: Iterable[ir.Node]) -> None:
    """Make the users of affine nodes use the nodes' data instead."""
    for node in nodes:
        assert node.graph is not None
        replace_value(node.outputs[0], data_of(node))
        node.graph.remove(node, safe=True)


def data_of(node: ir.Node) -> ir.Value:
    """What an affine node scales and shifts: its operand that is not constant."""
    data = node.inputs[1] if is_constant(node.inputs[0]) else node.inputs[0]
    assert data is not None
    return data


def set_bias(linear: Linear, bias: Array, graph: ir.Graph) -> None:
    """Make a linear operator add ``bias``: as its own input, or with an Add after a MatMul."""
    if linear.bias is not None:
        if np.any(bias) or len(linear.node.inputs) > linear.bias:
            write_bias(linear, bias, graph)
    elif np.any(bias):
        column = bias if linear.output_axis == -1 else bias[:, None]
        insert_add_after(linear.node, column, graph)


def insert_add_after(node: ir.Node, offset: Array, graph: ir.Graph) -> None:
    """Insert an Add of ``offset`` between ``node`` and all of its users."""
    value = node.outputs[0]
    uses, is_output, name = value.uses(), value.is_graph_output(), value.name
    constant = add_initializer(graph, f"{name}_bias", offset)
    add = ir.node("Add", [value, constant], name=f"{node.name or name}_bias")
    add.metadata_props.update(node.metadata_props)
    add.outputs[0].type, add.outputs[0].shape = value.type, value.shape
    graph.insert_after(node, add)
    for user, index in uses:
        user.replace_input_with(index, add.outputs[0])
    if is_output:
        value.name = unused_name(graph, f"{name}_before_bias")
        add.outputs[0].name = name
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = add.outputs[0]
