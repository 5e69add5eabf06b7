"""Which operators of a graph run in INT8, and why the others do not.

The plan is the largest set of operators that satisfies the policy: start with all that have a
row in the table, and drop those whose neighbours make INT8 pointless, until nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field

import onnx_ir as ir

from quantizers.policy.operators import RULES, Rule, clip_bounds, is_foldable_activation
from runtimes.onnx_graph.values import is_constant, is_op, only_user, rank


@dataclass(frozen=True, eq=False)
class Unit:
    """An operator together with what is absorbed into its kernel.

    ``absorbed``: the addition of a MatMul's bias and the activation, in order. ``sum``: what
    the kernel accumulates, bias included, before the activation. ``ceiling``: upper bound of
    the absorbed activation (infinite where there is none).
    """

    node: ir.Node
    rule: Rule
    data: tuple[ir.Value, ...]
    weight: ir.Value | None
    bias: ir.Value | None
    absorbed: tuple[ir.Node, ...]
    sum: ir.Value
    output: ir.Value
    ceiling: float
    has_activation: bool

    @property
    def name(self) -> str:
        """Name of the operator's node."""
        return str(self.node.name)

    @property
    def takes_bias(self) -> bool:
        """Whether the kernel adds a bias by the channel, or could."""
        return self.bias is not None or self.rule.bias is not None

    @property
    def channel_axis(self) -> int:
        """The axis of ``sum`` that the bias runs along."""
        return 1 if self.node.op_type == "Conv" else -1

    def reads(self, node: ir.Node, index: int) -> bool:
        """Whether input ``index`` of ``node`` is an activation that this unit takes in."""
        return node is self.node and (self.rule.data is None or index in self.rule.data)


@dataclass(frozen=True)
class Plan:
    """``units``: what runs in INT8, in graph order. ``float_reasons``: why the rest does not."""

    units: tuple[Unit, ...]
    float_reasons: Mapping[str, str]
    _by_output: Mapping[ir.Value, Unit] = field(repr=False)
    _by_node: Mapping[ir.Node, Unit] = field(repr=False)

    def producer(self, value: ir.Value) -> Unit | None:
        """The INT8 unit whose result ``value`` is."""
        return self._by_output.get(value)

    def rounds(self, value: ir.Value) -> bool:
        """Whether ``value`` comes out of an INT8 kernel that gives no float result."""
        unit = self._by_output.get(value)
        if unit is None or not unit.rule.int8_output:
            return False
        return unit.rule.kind != "movement" or self.rounds(unit.data[0])

    def readers(self, value: ir.Value) -> Iterator[Unit]:
        """The INT8 units that take ``value`` in as an activation."""
        for use in value.uses():
            unit = self._by_node.get(use.node)
            if unit is not None and unit.reads(use.node, use.idx):
                yield unit

    def quantized_values(self) -> tuple[ir.Value, ...]:
        """Every activation that lies on a grid, in graph order."""
        values: dict[ir.Value, None] = {}
        for unit in self.units:
            values.update(dict.fromkeys(unit.data))
            if unit.rule.int8_output:
                values[unit.output] = None
        return tuple(values)

    def source(self, value: ir.Value) -> ir.Value:
        """The value whose grid ``value`` shares because it was only moved since."""
        unit = self._by_output.get(value)
        while unit is not None and unit.rule.kind == "movement":
            value = unit.data[0]
            unit = self._by_output.get(value)
        return value


def make_plan(graph: ir.Graph, keep_float: Mapping[str, str] | Set[str] = frozenset()) -> Plan:
    """Plan the INT8 operators of ``graph`` (typed, with unique node names).

    ``keep_float``: names of nodes that stay in float, with the reason where it is a mapping.
    """
    reasons: dict[str, str] = {}
    units: list[Unit] = []
    taken: set[ir.Node] = set()
    for node in graph:
        if node in taken:
            continue
        name = str(node.name)
        if name in keep_float:
            given = keep_float[name] if isinstance(keep_float, Mapping) else None
            reasons[name] = given or "kept in float on request"
            continue
        reason = _refusal(node)
        if reason is not None:
            reasons[name] = reason
            continue
        unit = _make_unit(node, keep_float)
        taken.update(unit.absorbed)
        units.append(unit)
    return _drop_pointless(units, reasons)


def is_float(value: ir.Value | None) -> bool:
    """Whether ``value`` is a float32 tensor."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def _refusal(node: ir.Node) -> str | None:
    rule = RULES.get(node.op_type) if node.domain == "" else None
    if not any(is_float(output) for output in node.outputs):
        return "it computes no float32 values"
    if rule is None:
        return f"ONNX Runtime has no INT8 kernel for {node.op_type} that pays"
    if rule.kind == "activation":
        return "it does not directly follow an operator that could absorb it"
    data = node.inputs if rule.data is None else [node.inputs[i] for i in rule.data]
    if not all(is_float(value) for value in data):
        return "it does not read float32 values"
    return rule.refuse(node)


def _make_unit(node: ir.Node, keep_float: Mapping[str, str] | Set[str]) -> Unit:
    rule = RULES[node.op_type]
    indices = range(len(node.inputs)) if rule.data is None else rule.data
    bias = _input(node, rule.bias)
    absorbed: list[ir.Node] = []
    output = node.outputs[0]
    if is_op(node, "MatMul") and rank(node.inputs[1]) == 2:
        add = only_user(output)
        vector = _bias_vector(add, output, node.inputs[1])
        if add is not None and vector is not None and add.name not in keep_float:
            bias, output = vector, add.outputs[0]
            absorbed.append(add)
    accumulated = output
    ceiling, has_activation = math.inf, False
    if rule.kind in ("compute", "arithmetic"):
        follower = only_user(output)
        if follower is not None and is_foldable_activation(follower):
            bounds = clip_bounds(follower)
            ceiling, has_activation = (bounds or (0.0, math.inf))[1], True
            output = follower.outputs[0]
            absorbed.append(follower)
    return Unit(
        node=node,
        rule=rule,
        data=tuple(v for v in (node.inputs[i] for i in indices) if v is not None),
        weight=_input(node, rule.weight),
        bias=bias,
        absorbed=tuple(absorbed),
        sum=accumulated,
        output=output,
        ceiling=ceiling,
        has_activation=has_activation,
    )


def _input(node: ir.Node, index: int | None) -> ir.Value | None:
    return node.inputs[index] if index is not None and index < len(node.inputs) else None


def _bias_vector(
    add: ir.Node | None, product: ir.Value, weight: ir.Value | None
) -> ir.Value | None:
    """The constant vector that ``add`` adds to every row of a matrix product."""
    if add is None or weight is None or weight.shape is None or not is_op(add, "Add"):
        return None
    other = add.inputs[1] if add.inputs[0] is product else add.inputs[0]
    if other is None or other.shape is None or not is_constant(other) or not is_float(other):
        return None
    return other if list(other.shape) == [weight.shape[1]] else None


def _drop_pointless(units: list[Unit], reasons: dict[str, str]) -> Plan:
    while True:
        plan = Plan(
            tuple(units),
            reasons,
            {unit.output: unit for unit in units},
            {unit.node: unit for unit in units},
        )
        dropped = {unit: reason for unit in units if (reason := _pointless(unit, plan))}
        if not dropped:
            return plan
        for unit, reason in dropped.items():
            reasons[unit.name] = reason
            for node in unit.absorbed:
                reasons[str(node.name)] = f"{unit.node.op_type} before it is in float"
        units = [unit for unit in units if unit not in dropped]


def _pointless(unit: Unit, plan: Plan) -> str | None:
    match unit.rule.kind:
        case "arithmetic":
            for value in unit.data:
                if not plan.rounds(value):
                    return f"its input {value.name!r} is computed in float"
            if not _needed(unit.output, plan):
                return "no INT8 operator reads its result"
        case "movement":
            if unit.node.op_type == "MaxPool" and not plan.rounds(unit.data[0]):
                return "it pools float values, of which fewer are to be rounded behind"
            if not plan.rounds(unit.data[0]) and not _all_readers_int8(unit.output, plan):
                return "it moves float values"
    return None


def _needed(value: ir.Value, plan: Plan) -> bool:
    return any(
        unit.rule.kind != "movement" or _needed(unit.output, plan) for unit in plan.readers(value)
    )


def _all_readers_int8(value: ir.Value, plan: Plan) -> bool:
    readers = list(plan.readers(value))
    return bool(readers) and len(readers) == len(value.uses()) and not value.is_graph_output()
