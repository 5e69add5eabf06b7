"""Normalization in front of its activation (ResNetV2, DenseNet) in a form that runs in INT8."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from quantizers.policy.operators.table import operator_of
from runtimes.base import Array
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    add_initializer,
    constant,
    drop_if_unused,
    is_op,
    only_user,
    rank,
    take_place,
)


class AffineToDepthwise(RewritePass):
    """``x·k + b`` by the channel of an image is a depthwise convolution of one tap.

    A BatchNormalization that no convolution stands in front of cannot be folded, and in float
    between two INT8 convolutions it costs both conversions and two changes of layout: an INT8
    block with it is 1.3 times as fast as a depthwise convolution. One weight a channel rounds
    without error. Refused where no operator that runs in INT8 reads the result.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Replace Mul and Add, or BatchNormalization, in the main graph."""
        modified = False
        for node in tuple(model.graph):
            found = _batch_norm(node) or _multiply_add(node)
            if found is None:
                continue
            x, factors, shifts, replaced = found
            if not _feeds_int8(node.outputs[0]):
                refuse(node, "no operator that runs in INT8 reads its result")
                continue
            _convolve(model.graph, replaced, x, (factors, shifts))
            modified = True
        return modified


_Found = tuple[ir.Value, Array, Array, list[ir.Node]]


def _batch_norm(node: ir.Node) -> _Found | None:
    if not is_op(node, "BatchNormalization") or len(node.outputs) > 1:
        return None
    x, parts = node.inputs[0], [constant(value) for value in node.inputs[1:5]]
    if x is None or rank(x) != 4 or x.producer() is None or any(part is None for part in parts):
        return None
    scale, bias, mean, variance = (np.asarray(part, dtype=np.float64) for part in parts)
    factors = scale / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return x, factors, bias - mean * factors, [node]


def _multiply_add(node: ir.Node) -> _Found | None:
    """A Mul and the Add behind it, or one of the two alone (passes fold the other away)."""
    scaled = _by_channel(node, "Mul")
    if scaled is not None:
        follower = only_user(node.outputs[0])
        if follower is not None and _by_channel(follower, "Add") is not None:
            return None  # found at the Add
        x, factors = scaled
        return None if x.producer() is None else (x, factors, np.zeros_like(factors), [node])
    shifted = _by_channel(node, "Add")
    if shifted is None:
        return None
    x, shifts = shifted
    multiply = x.producer()
    inner = None if multiply is None else _by_channel(multiply, "Mul")
    if multiply is not None and inner is not None and only_user(x) is node:
        if inner[0].producer() is None:
            return None
        return inner[0], inner[1], shifts, [multiply, node]
    return None if multiply is None else (x, np.ones_like(shifts), shifts, [node])


def _by_channel(node: ir.Node, op_type: str) -> tuple[ir.Value, Array] | None:
    """The images ``[N, C, H, W]`` and the vector ``[C]`` that ``node`` combines."""
    if not is_op(node, op_type):
        return None
    for data, vector in (node.inputs, tuple(reversed(node.inputs))):
        array = constant(vector)
        if array is None or data is None or data.shape is None or rank(data) != 4:
            continue
        channels = data.shape[1]
        wanted = (channels, 1, 1)
        if array.size > 1 and array.shape[-3:] == wanted and array.size == channels:
            return data, np.asarray(array.reshape(-1), dtype=np.float64)
    return None


def _feeds_int8(value: ir.Value) -> bool:
    follower = only_user(value)
    if is_op(follower, "Relu", "Clip", "LeakyRelu") and follower is not None:
        value = follower.outputs[0]
    uses = value.uses()
    readers = [operator_of(use.node) for use in uses]
    return bool(uses) and all(one is not None and one.ends_preactivation for one in readers)


def _convolve(
    graph: ir.Graph, replaced: list[ir.Node], x: ir.Value, affine: tuple[Array, Array]
) -> None:
    last, unused = replaced[-1], [value for node in replaced for value in node.inputs]
    old = last.outputs[0]
    factors, shifts = (part.astype(np.float32) for part in affine)
    weight = add_initializer(graph, f"{last.name}_weight", factors.reshape(-1, 1, 1, 1))
    bias = add_initializer(graph, f"{last.name}_bias", shifts)
    conv = ir.node("Conv", [x, weight, bias], {"group": len(factors)}, name=last.name)
    new = conv.outputs[0]
    new.type, new.shape = old.type, old.shape
    graph.insert_before(last, conv)
    take_place(old, new)
    for node in reversed(replaced):
        graph.remove(node, safe=True)
    drop_if_unused(unused)
