"""Between which bounds each channel of each value lies, whatever the input: interval arithmetic.

A channel whose bounds are equal is a constant. Bounds are proven, not seen: an input is
anything between −∞ and ∞ (an integer what its type holds), a Conv sums the bounds of its
inputs by the signs of its weights, a Relu cuts below zero.
(Moore, Kearfott, Cloud: Introduction to Interval Analysis, SIAM 2009.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.selection import Dependencies
from converter.pruning.operators.channels import IntArray
from converter.pruning.regression.normal_equations import Float64
from runtimes.onnx_graph.affine import affine_of
from runtimes.onnx_graph.linear import Linear, bias_of, linear_of
from runtimes.onnx_graph.rewrite import Refused
from runtimes.onnx_graph.values import constant, is_op


@dataclass(frozen=True)
class Bounds:
    """Least and largest value of each channel, float64 ``[channels]``, or ``[1]`` for all."""

    low: Float64
    high: Float64

    def union(self, other: Bounds) -> Bounds:
        """Bounds of what lies in either."""
        return Bounds(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def of_all(self) -> Bounds:
        """Bounds of all channels together."""
        return Bounds(self.low.min(keepdims=True), self.high.max(keepdims=True))


_ANYTHING = Bounds(np.array([-np.inf]), np.array([np.inf]))
_ZERO = Bounds(np.zeros(1), np.zeros(1))


class Ranges:
    """Bounds of the values of a graph, along the one axis on which they have channels."""

    def __init__(self, model: ir.Model, dependencies: Dependencies) -> None:
        self._axes = dependencies.axes
        self._bounds: dict[str, Bounds] = {}
        for value in model.graph.inputs:
            self._bounds[str(value.name)] = _of_type(value)
        for node in model.graph:
            if len(node.outputs) == 0 or node.domain != "":
                continue
            with np.errstate(all="ignore"):
                bounds = self._of_node(node)
            if bounds is not None:
                name = str(node.outputs[0].name)
                own = self.channels(name)
                fits = len(bounds.low) == 1 or (own is not None and len(own) == len(bounds.low))
                self._bounds[name] = bounds if fits else bounds.of_all()

    def constants(self, name: str, channels: IntArray) -> Float64:
        """For each of the channels the number that it always is in this value, or NaN."""
        found = self._of_channels(name, channels)
        same = (found.low == found.high) & np.isfinite(found.low)
        numbers: Float64 = np.where(same, found.low, np.nan)
        return np.broadcast_to(numbers, channels.shape)

    def _of_channels(self, name: str, channels: IntArray) -> Bounds:
        """Bounds of channels by their numbers, in one value."""
        bounds, own = self._bounds.get(name, _ANYTHING), self.channels(name)
        if own is None or len(bounds.low) == 1:
            return bounds
        # A channel may lie at several places of an axis, with other numbers at each.
        ids, place = np.unique(own, return_inverse=True)
        low, high = np.full(len(ids), np.inf), np.full(len(ids), -np.inf)
        np.minimum.at(low, place, bounds.low)
        np.maximum.at(high, place, bounds.high)
        found = np.minimum(np.searchsorted(ids, channels), len(ids) - 1)
        there = ids[found] == channels
        return Bounds(np.where(there, low[found], -np.inf), np.where(there, high[found], np.inf))

    def channels(self, name: str) -> IntArray | None:
        """The channels of a value that has them along one axis only."""
        found = [channels for channels in self._axes.get(name, ()) if channels is not None]
        return found[0] if len(found) == 1 else None

    def _of_node(self, node: ir.Node) -> Bounds | None:
        if is_op(node, "Conv", "MatMul", "Gemm"):
            return self._of_linear(node)
        if is_op(node, "Clip"):
            return self._of_clip(node)
        if node.op_type in _MONOTONE:
            bounds = self._of_input(node, 0)
            function = _MONOTONE[node.op_type]
            return Bounds(function(bounds.low), function(bounds.high))
        if is_op(node, "BatchNormalization", "Add", "Sub", "Mul", "Div"):
            return self._of_arithmetic(node)
        if is_op(node, *_CARRY):
            return self._carried(node)
        return None

    def _of_input(self, node: ir.Node, index: int) -> Bounds:
        value = node.inputs[index]
        return _ANYTHING if value is None else self._bounds.get(str(value.name), _ANYTHING)

    def _of_linear(self, node: ir.Node) -> Bounds | None:
        try:
            linear = linear_of(node)
            if linear is None or linear.weight != 1:
                return None
            if is_op(node, "MatMul") and linear.weight_array().ndim != 2:
                return None
            bias = bias_of(linear) if linear.bias is not None else np.zeros(1)
        except Refused:
            return None
        source = self._of_input(node, linear.data)
        axes = self._axes.get(str(node.inputs[0].name), ()) if node.inputs[0] is not None else ()
        if not axes or axes[linear.input_axis] is None:
            source = source.of_all()
        if linear.sees_border():
            source = source.union(_ZERO)
        weight = linear.weight_array()
        low, high = _products(linear, weight, source)
        return Bounds(low + bias, high + bias)

    def _of_clip(self, node: ir.Node) -> Bounds:
        bounds = self._of_input(node, 0)
        limits = [constant(value) for value in node.inputs[1:3]]
        low = -np.inf if not limits or limits[0] is None else float(limits[0])
        high = np.inf if len(limits) < 2 or limits[1] is None else float(limits[1])
        return Bounds(np.clip(bounds.low, low, high), np.clip(bounds.high, low, high))

    def _of_arithmetic(self, node: ir.Node) -> Bounds | None:
        """By a constant a channel, or a sum of two values with the same channels."""
        rank = len(node.outputs[0].shape) if node.outputs[0].shape is not None else None
        try:
            found = affine_of(node, rank)
        except Refused:
            return None
        if found is None:
            return self._of_sum(node)
        source, affine = found
        if affine.axis is not None and not self._lies_along(node, affine.axis):
            return None
        bounds = self._bounds.get(str(source.name), _ANYTHING)
        ends = [_product(affine.scale, end) + affine.offset for end in (bounds.low, bounds.high)]
        return Bounds(*(np.atleast_1d(f(*ends)) for f in (np.minimum, np.maximum)))

    def _lies_along(self, node: ir.Node, axis: int) -> bool:
        axes = self._axes.get(str(node.outputs[0].name), ())
        return self.channels(str(node.outputs[0].name)) is not None and axes[axis] is not None

    def _of_sum(self, node: ir.Node) -> Bounds | None:
        if not is_op(node, "Add"):
            return None
        own = self.channels(str(node.outputs[0].name))
        left, right = self._of_input(node, 0), self._of_input(node, 1)
        sizes = {1} if own is None else {1, len(own)}
        if {len(left.low), len(right.low)} - sizes:
            return None
        return Bounds(left.low + right.low, left.high + right.high)

    def _carried(self, node: ir.Node) -> Bounds | None:
        """Channels that only move: those of the output, wherever they come from."""
        own = self.channels(str(node.outputs[0].name))
        names = [str(value.name) for value in node.inputs[:1] if value is not None]
        if is_op(node, "Concat"):
            names = [str(value.name) for value in node.inputs if value is not None]
        if own is None:
            return None
        result = Bounds(np.full(len(own), np.inf), np.full(len(own), -np.inf))
        for name in names:
            there = self.channels(name)
            if there is None:
                return None
            found = self._of_channels(name, own)
            here = np.isin(own, there)
            nothing = Bounds(np.full(len(own), np.inf), np.full(len(own), -np.inf))
            result = result.union(
                Bounds(
                    np.where(here, found.low, nothing.low),
                    np.where(here, found.high, nothing.high),
                )
            )
        if is_op(node, "Pad"):
            filling = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            number = np.zeros(1) if filling is None else filling.astype(np.float64).reshape(1)
            result = result.union(Bounds(number, number))
        known = result.low <= result.high
        return Bounds(np.where(known, result.low, -np.inf), np.where(known, result.high, np.inf))


def _products(linear: Linear, weight: Float64, source: Bounds) -> tuple[Float64, Float64]:
    """Least and largest sum of weight times input, for each output."""
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    ends = []
    for first, second in ((source.low, source.high), (source.high, source.low)):
        total = np.zeros(1)
        for part, bound in ((positive, first), (negative, second)):
            # A weight of zero takes no part in the sum, whatever the bound: 0·∞ is 0 here.
            finite = np.where(np.isfinite(bound), bound, 0.0)
            total = total + linear.response(part, finite if len(bound) > 1 else finite.reshape(()))
            infinite = (~np.isfinite(bound)).astype(np.float64)
            reach = linear.response(
                np.abs(part), infinite if len(bound) > 1 else infinite.reshape(())
            )
            sign = -np.inf if first is source.low else np.inf
            total = np.where(reach > 0, sign, total)
        ends.append(total)
    return ends[0], ends[1]


def _product(scale: Float64, bound: Float64) -> Float64:
    product: Float64 = np.where(scale == 0, 0.0, scale * bound)
    return product


def _of_type(value: ir.Value) -> Bounds:
    if value.dtype is None or value.dtype.numpy().kind not in "iu":
        return _ANYTHING
    limits = np.iinfo(value.dtype.numpy())
    return Bounds(np.array([float(limits.min)]), np.array([float(limits.max)]))


_MONOTONE: Mapping[str, Callable[[Float64], Float64]] = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "Tanh": np.tanh,
    "Exp": np.exp,
    "Softplus": lambda x: np.logaddexp(0.0, x),
    "Identity": lambda x: x,
    "Cast": lambda x: x,
    "Dropout": lambda x: x,
}

_CARRY: Sequence[str] = (
    *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Slice", "Gather"),
    *("Pad", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "Tile", "Expand", "ReduceMean"),
    *("ReduceMax", "ReduceMin"),
)
