"""Sets of tensors whose channels may be rescaled together without changing the model.

``relu(s·x) = s·relu(x)`` for ``s > 0``: between the operators that make a channel and those
that read it, a positive factor passes through ReLU-like activations, pooling and residual
additions. A group is everything that one factor a channel has to reach: the weights that make
the channel are multiplied by it, those that read it divided (Nagel et al. 2019,
arXiv:1906.04721, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from quantizers.policy.operators.table import operator_of
from runtimes.onnx_graph.linear import Linear, bias_of, linear_of
from runtimes.onnx_graph.rewrite import Refuse, Refused
from runtimes.onnx_graph.values import constant, is_constant, rank


@dataclass(eq=False)
class ChannelGroup:
    """Values tied together, and what has to follow when their channels are rescaled.

    ``axes``: the channel axis of each value, counted from its end. ``makers``: operators whose
    output channels these are; ``norms``: normalizations with a scale and offset of their own;
    ``readers``: operators that read them; ``vectors``: additions of one constant a channel.
    ``blocked``: the operator that lets no factor through, and why.
    """

    axes: dict[ir.Value, int] = field(default_factory=dict)
    makers: list[Linear] = field(default_factory=list)
    norms: list[ir.Node] = field(default_factory=list)
    readers: list[Linear] = field(default_factory=list)
    vectors: list[tuple[ir.Node, int]] = field(default_factory=list)
    blocked: tuple[ir.Node | None, str] | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        if self.makers:
            return self.makers[0].output_channels
        scale = constant(self.norms[0].inputs[1])
        assert scale is not None
        return int(scale.size)


def channel_groups(graph: ir.Graph, refuse: Refuse) -> Iterator[ChannelGroup]:
    """The groups of ``graph`` that can be rescaled, in graph order; others are refused."""
    found = _Groups(graph)
    for node in graph:
        found.visit(node)
    for value in (*graph.inputs, *graph.outputs):
        found.block(value, None, "it is an input or an output of the model")
    seen: set[int] = set()
    for value in [output for node in graph for output in node.outputs]:
        group = found.group(value)
        if group is None or id(group) in seen or not group.readers:
            continue
        seen.add(id(group))
        if group.blocked is not None:
            where, reason = group.blocked
            refuse(where or group.readers[0].node, reason)
        elif group.makers or group.norms:
            yield group


class _Groups:
    """Union-find over values."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._groups: dict[ir.Value, ChannelGroup] = {}

    def group(self, value: ir.Value) -> ChannelGroup | None:
        return self._groups.get(value)

    def visit(self, node: ir.Node) -> None:
        try:
            handled = self._visit(node)
        except Refused as refused:
            self._block_all(node, str(refused))
            return
        if not handled:
            self._block_all(node, f"{node.op_type} does not let a factor a channel through")

    def block(self, value: ir.Value | None, node: ir.Node | None, reason: str) -> None:
        if value is not None and not is_constant(value):
            group = self._get(value)
            group.blocked = group.blocked or (node, reason)

    def _block_all(self, node: ir.Node, reason: str) -> None:
        for value in (*node.inputs, *node.outputs):
            self.block(value, node, reason)
        for attribute in node.attributes.values():
            if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
                inner = attribute.as_graphs() if attribute.type.name == "GRAPHS" else ()
                for graph in inner or (attribute.as_graph(),):
                    for below in graph.all_nodes():
                        for value in below.inputs:
                            self.block(value, node, "a subgraph reads it")

    def _visit(self, node: ir.Node) -> bool:
        if not node.inputs:
            return False
        linear = linear_of(node) if self._reads_one(node) else None
        if linear is not None:
            self._linear(node, linear)
            return True
        data = node.inputs[0]
        if data is None or rank(data) is None:
            return False
        return self._passes(node, data)

    def _passes(self, node: ir.Node, data: ir.Value) -> bool:
        """Tie what ``node`` reads to what it writes, if factors get through it."""
        operator = operator_of(node)
        match None if operator is None else operator.factors(node):
            case "normalization":
                return self._normalization(node, data)
            case "flatten":
                return self._flatten(node, data)
            case "sum":
                return self._add(node, data)
            case "images":
                self._tie(node, data, 1 - _rank(data))
            case None:
                return False
        self._join(node, data, node.outputs[0])
        return True

    def _reads_one(self, node: ir.Node) -> bool:
        return sum(1 for value in node.inputs[:2] if is_constant(value)) == 1

    def _linear(self, node: ir.Node, linear: Linear) -> None:
        if len(linear.weight_value.uses()) > 1:
            raise Refused("its weight is used elsewhere too")
        bias_of(linear)
        data = node.inputs[linear.data]
        assert data is not None
        self._tie(node, data, linear.input_axis)
        self._get(data).readers.append(linear)
        self._tie(node, node.outputs[0], linear.output_axis)
        self._get(node.outputs[0]).makers.append(linear)

    def _normalization(self, node: ir.Node, data: ir.Value) -> bool:
        scale = constant(node.inputs[1])
        last = node.attributes.get_int("axis", -1) in (-1, _rank(data) - 1)
        parts = [value for value in node.inputs[1:] if value is not None]
        if scale is None or scale.ndim != 1 or not last or len(node.outputs) > 1:
            return False
        if not all(is_constant(part) and len(part.uses()) == 1 for part in parts):
            return False
        self.block(data, node, "LayerNormalization mixes its channels")
        self._tie(node, node.outputs[0], -1)
        self._get(node.outputs[0]).norms.append(node)
        return True

    def _flatten(self, node: ir.Node, data: ir.Value) -> bool:
        before, after = data.shape, node.outputs[0].shape
        if before is None or after is None or len(before) < 3 or len(after) != 2:
            return False
        if any(dim != 1 for dim in list(before)[2:]) or before[1] != after[1]:
            return False
        self._tie(node, data, 1 - len(before))
        self._tie(node, node.outputs[0], -1)
        self._join(node, data, node.outputs[0], same_axis=False)
        return True

    def _add(self, node: ir.Node, one: ir.Value) -> bool:
        other = node.inputs[1]
        if other is None:
            return False
        if is_constant(one) or is_constant(other):
            index = 1 if is_constant(other) else 0
            data, vector = (one, other) if index else (other, one)
            return self._add_vector(node, data, vector, index)
        if _static_tail(one) != _static_tail(other) or _static_tail(one) is None:
            return False
        self._join(node, one, node.outputs[0])
        self._join(node, other, node.outputs[0])
        return True

    def _add_vector(self, node: ir.Node, data: ir.Value, vector: ir.Value, index: int) -> bool:
        array = constant(vector)
        axis = self._get(data).axes.get(data)
        if array is None or not axis or len(vector.uses()) > 1 or array.ndim > _rank(data):
            return False
        channels = data.shape[axis] if data.shape is not None else None
        shape = [1] * max(array.ndim, -axis)
        shape[axis] = channels if isinstance(channels, int) else 0
        if array.size <= 1 or list(array.shape) != shape[len(shape) - array.ndim :]:
            return False
        self._join(node, data, node.outputs[0])
        self._get(data).vectors.append((node, index))
        return True

    def _get(self, value: ir.Value) -> ChannelGroup:
        if value not in self._groups:
            group = ChannelGroup()
            group.axes[value] = 0
            self._groups[value] = group
        return self._groups[value]

    def _tie(self, node: ir.Node, value: ir.Value, axis: int) -> None:
        group = self._get(value)
        if group.axes[value] not in (0, axis):
            self.block(value, node, "its readers do not agree on the channel axis")
        group.axes[value] = axis

    def _join(
        self, node: ir.Node, one: ir.Value, other: ir.Value, *, same_axis: bool = True
    ) -> None:
        first, second = self._get(one), self._get(other)
        if same_axis:
            axes = {axis for axis in (first.axes[one], second.axes[other]) if axis}
            if len(axes) > 1:
                self.block(one, node, "its readers do not agree on the channel axis")
            elif axes:
                first.axes[one] = second.axes[other] = axes.pop()
        if first is second:
            return
        first.axes.update(second.axes)
        first.makers += second.makers
        first.norms += second.norms
        first.readers += second.readers
        first.vectors += second.vectors
        first.blocked = first.blocked or second.blocked
        for value in second.axes:
            self._groups[value] = first


def _static_tail(value: ir.Value) -> tuple[int | str | None, ...] | None:
    """The shape behind the batch axis, None where the rank is not known."""
    if value.shape is None:
        return None
    return tuple(
        dim if isinstance(dim, int) else getattr(dim, "value", None) for dim in value.shape[1:]
    )


def _rank(value: ir.Value) -> int:
    size = rank(value)
    assert size is not None
    return size
