"""Merge consecutive per-channel affine nodes that cannot be folded into a linear operator.

Normalization before an activation (ResNetV2, DenseNet) stays in the graph: as one
BatchNormalization if the channels are the second axis, which runtimes fuse with the activation,
and otherwise as one Mul and one Add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converter.passes.fusion.affine_into_preceding import check_fit
from runtimes.onnx_graph.affine import IDENTITY, Affine, Float64, affine_of
from runtimes.onnx_graph.channel_axis import Channel
from runtimes.onnx_graph.linear import rounded
from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import (
    Array,
    add_initializer,
    all_nodes,
    is_constant,
    is_op,
    only_user,
    replace_value,
)


class MergeAffine(RewritePass):
    """Reduce a chain of Mul, Add, Sub, Div and BatchNormalization to as few nodes as possible.

    Needs shapes: run ``InferShapes`` before. A chain is refused if the type of the data cannot
    hold the combined numbers.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Merge in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            if node.graph is None:
                continue
            chain = _chain(node)
            if chain is None or len(_wanted(chain)) >= len(chain.nodes):
                continue
            try:
                _rewrite(chain)
                modified = True
            except Refused as reason:
                refuse(node, str(reason))
        return modified


@dataclass(frozen=True)
class _Chain:
    source: ir.Value
    nodes: tuple[ir.Node, ...]
    total: Affine
    channels: int
    rank: int


def _chain(first: ir.Node) -> _Chain | None:
    """The longest chain that starts at ``first``, if one starts there."""
    found = _affine(first)
    if found is None:
        return None
    source = found[0]
    shape = source.shape
    before = source.producer()
    if shape is None or (before is not None and _affine(before) and only_user(source) is first):
        return None
    nodes: list[ir.Node] = []
    total = IDENTITY
    node: ir.Node | None = first
    while node is not None and node.graph is first.graph:
        found = _affine(node)
        if found is None or not _fits(total, found[1], shape):
            break
        nodes.append(node)
        total = total.then(found[1])
        node = only_user(node.outputs[0])
    channels = shape[total.axis] if total.axis is not None else 1
    if not nodes or not isinstance(channels, int):
        return None
    return _Chain(source, tuple(nodes), total, channels, len(shape))


def _affine(node: ir.Node) -> tuple[ir.Value, Affine] | None:
    try:
        return affine_of(node)
    except Refused:
        return None


def _fits(total: Affine, link: Affine, shape: ir.Shape) -> bool:
    """Whether ``link`` acts along the same axis as what came before, without broadcasting."""
    axis = link.axis if total.axis is None else total.axis
    dim = 1 if axis is None or len(shape) < -axis else shape[axis]
    if not isinstance(dim, int):
        return False
    try:
        check_fit(link, Channel(-1 if axis is None else axis, len(shape)), dim)
    except Refused:
        return False
    return True


def _wanted(chain: _Chain) -> tuple[str, ...]:
    """The fewest operators that compute the whole chain."""
    total = chain.total
    if total.only_adds():
        return () if total.only_scales() else ("Add",)
    if total.only_scales():
        return ("Mul",)
    if chain.rank >= 3 and total.axis == 1 - chain.rank:
        return ("BatchNormalization",)
    return ("Mul", "Add")


def _rewrite(chain: _Chain) -> None:
    first, last = chain.nodes[0], chain.nodes[-1]
    graph = last.graph
    assert isinstance(graph, ir.Graph)
    like = _a_constant(first)
    value = chain.source
    numbers = {"Mul": chain.total.scale, "Add": chain.total.offset}
    name = last.outputs[0].name
    for op in _wanted(chain):
        if op == "BatchNormalization":
            operands = _statistics(chain, like)
        else:
            operands = {"operand": _along_axis(rounded(numbers[op], like), chain.total.axis)}
        constants = [add_initializer(graph, f"{name}_{key}", a) for key, a in operands.items()]
        attributes = {"epsilon": 0.0} if op == "BatchNormalization" else {}
        node = ir.node(op, [value, *constants], attributes, name=f"{last.name}_{op}")
        node.metadata_props.update(last.metadata_props)
        graph.insert_before(last, node)
        value = node.outputs[0]
        value.name = f"{name}_{op}"
        value.type, value.shape = last.outputs[0].type, last.outputs[0].shape
    replace_value(last.outputs[0], value)
    graph.remove(chain.nodes, safe=True)


def _statistics(chain: _Chain, like: ir.Value) -> dict[str, Array]:
    """Operands with which BatchNormalization with epsilon zero computes scale·x + offset."""

    def every(numbers: Float64) -> Array:
        return rounded(np.broadcast_to(numbers, (chain.channels,)), like)

    return {
        "scale": every(chain.total.scale),
        "offset": every(chain.total.offset),
        "mean": every(np.zeros(())),
        "variance": every(np.ones(())),
    }


def _along_axis(array: Array, axis: int | None) -> Array:
    if axis is None or array.ndim == 0:
        return array
    return array.reshape(-1, *[1] * (-axis - 1))


def _a_constant(node: ir.Node) -> ir.Value:
    """An operand of ``node`` that has the type of its data."""
    place = 1 if is_op(node, "BatchNormalization") or is_constant(node.inputs[1]) else 0
    value = node.inputs[place]
    assert value is not None
    return value
