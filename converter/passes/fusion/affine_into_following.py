"""Fold per-channel affine nodes into the linear operator after them.

W*(scale·x + offset) + b = (W·scale)*x + (W*offset + b), with the scale along the input channels
of the weight. The offset goes into the bias only if every output sees the whole kernel: padding
adds zeros after the affine map, not before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converter.passes.fusion.affine_into_preceding import (
    check_fit,
    data_of,
    remove_affine,
    set_bias,
)
from converter.passes.fusion.flatten import through_flatten
from runtimes.onnx_graph.affine import IDENTITY, Affine, Float64, affine_of
from runtimes.onnx_graph.channel_axis import Channel, Commutes, commutes
from runtimes.onnx_graph.linear import Linear, bias_of, linear_of, rounded, write_weight
from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import (
    Array,
    add_initializer,
    all_nodes,
    only_user,
    rank,
)


class FoldAffineIntoFollowingLinear(RewritePass):
    """Fold Mul, Add, Sub, Div and BatchNormalization before a linear operator into it.

    Also through pooling, nodes that only move data, and Flatten. If padding prevents folding the
    offset, the scale is folded and one Add of offset / scale remains. The same cases are refused as
    in ``FoldAffineIntoPrecedingLinear``; an affine map with several users stays for all of them.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            try:
                linear = linear_of(node)
            except Refused:
                continue
            if linear is None:
                continue
            for view in (linear, *through_flatten(linear)):
                chain = _chain(view, refuse)
                if not chain.nodes:
                    continue
                try:
                    modified = _fold(view, chain) or modified
                except Refused as reason:
                    refuse(chain.nodes[-1], str(reason))
                break
        return modified


@dataclass(frozen=True)
class _Chain:
    """The affine nodes before a linear operator, first to last, and their combined map."""

    nodes: tuple[ir.Node, ...]
    total: Affine


def _chain(linear: Linear, refuse: Refuse) -> _Chain:
    """Walk up the affine nodes before ``linear`` as long as each can be folded."""
    node = linear.node
    value, channel = _start(linear)
    nodes: list[ir.Node] = []
    total = IDENTITY
    keeps_order = False
    while value is not None:
        producer = value.producer()
        if producer is None or producer.graph is not node.graph:
            break
        moved = channel.before(producer)
        if moved is not None and only_user(value) is not None:
            channel, value = moved, producer.inputs[0]
            keeps_order = keeps_order or commutes(producer) is Commutes.NOT_NEGATIVE
            continue
        try:
            found = affine_of(producer, channel.rank)
            if found is None:
                break
            if only_user(value) is None:
                raise Refused(f"its result {value.name!r} is used elsewhere too")
            check_fit(found[1], channel, linear.input_channels, keeps_order=keeps_order)
        except Refused as reason:
            refuse(producer, f"not folded into {node.name!r}: {reason}")
            break
        total = found[1].then(total)
        nodes.insert(0, producer)
        value = found[0]
    return _Chain(tuple(nodes), total)


def _start(linear: Linear) -> tuple[ir.Value | None, Channel]:
    """The data that the operator reads, and its channel axis."""
    value = linear.node.inputs[linear.data]
    if linear.sample:
        flatten = value.producer() if value is not None else None
        assert flatten is not None
        full = len(linear.sample) + 1
        return flatten.inputs[0], Channel(linear.sample_axis + 1 - full, full)
    weight = linear.weight_value.const_value
    known = len(weight.shape) if linear.bias is not None and weight is not None else rank(value)
    return value, Channel(linear.input_axis, known)


def _fold(linear: Linear, chain: _Chain) -> bool:
    """Fold what can be folded; return whether that removes a node."""
    total, graph, value = chain.total, linear.node.graph, linear.weight_value
    if not isinstance(graph, ir.Graph):
        raise Refused("it belongs to a function")
    left_over = None
    if linear.sees_border() and not total.only_scales():
        left_over = _left_over(total)
        if len(chain.nodes) == 1:
            raise Refused("padding adds zeros after it, to which its offset does not apply")
    if linear.bias is None and not total.only_scales() and not _saves_a_node(linear, chain):
        return False
    weight, added = None, np.zeros(linear.output_channels)
    if not total.only_adds():
        if len(value.uses()) > 1:
            raise Refused(f"the weight {value.name!r} is shared with another node")
        if value.is_graph_output():
            raise Refused(f"the weight {value.name!r} is an output of the graph")
        weight = linear.with_scaled_inputs(total.scale)
    if left_over is None and not total.only_scales():
        added = linear.response(linear.weight_array(), total.offset)
    bias = rounded(np.broadcast_to(bias_of(linear) + added, (linear.output_channels,)), value)
    remaining = None if left_over is None else rounded(left_over, value)
    _rewrite(linear, chain, weight, bias, remaining)
    return True


def _left_over(total: Affine) -> Float64:
    """What must be added before the operator when only the scale is folded into it."""
    scale = np.broadcast_to(total.scale, total.offset.shape) if total.offset.ndim else total.scale
    if not np.all(scale):
        raise Refused("its scale is zero in a channel, and padding prevents folding its offset")
    return np.asarray(total.offset / scale)


def _saves_a_node(linear: Linear, chain: _Chain) -> bool:
    """Whether folding removes a node; MatMul has no bias, so its offset needs an Add after it."""
    user = only_user(linear.node.outputs[0])
    try:
        joins = user is not None and affine_of(user) is not None
    except Refused:
        joins = False
    return joins or len(chain.nodes) > 1


def _rewrite(
    linear: Linear, chain: _Chain, weight: Array | None, bias: Array, remaining: Array | None
) -> None:
    graph = linear.node.graph
    assert isinstance(graph, ir.Graph)
    kept = None if remaining is None else _keep_one_add(chain, remaining, graph)
    remove_affine(link for link in chain.nodes if link is not kept)
    if weight is not None:
        write_weight([linear], weight, graph)
    set_bias(linear, bias, graph)


def _keep_one_add(chain: _Chain, remaining: Array, graph: ir.Graph) -> ir.Node:
    """Replace the first affine node of the chain by one Add."""
    first = chain.nodes[0]
    data = data_of(first)
    axis = chain.total.axis
    shape = (-1,) if axis is None else (-1, *[1] * (-axis - 1))
    array = remaining.reshape(shape) if remaining.ndim else remaining
    constant = add_initializer(graph, f"{first.outputs[0].name}_offset", array)
    add = ir.node("Add", [data, constant], name=first.name)
    add.metadata_props.update(first.metadata_props)
    graph.insert_before(first, add)
    output = first.outputs[0]
    add.outputs[0].type, add.outputs[0].shape, add.outputs[0].name = (
        output.type,
        output.shape,
        f"{output.name}_shifted",
    )
    first.replace_input_with(0 if first.inputs[0] is data else 1, add.outputs[0])
    return add
