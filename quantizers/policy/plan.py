"""Which operators of a graph run in INT8, and why the others do not.

The plan is the largest set of operators that satisfies the policy: start with all that the table
has an INT8 form for, and drop those whose neighbours make INT8 pointless, until nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial

import onnx_ir as ir

from quantizers.policy.operators.base import Operator
from quantizers.policy.operators.table import operator_of
from quantizers.qdq_form import ONNX_RUNTIME, QdqForm
from runtimes.base import Array
from runtimes.onnx_graph.values import constant, is_constant, only_user


@dataclass(frozen=True, eq=False)
class Unit:
    """An operator together with what is absorbed into its kernel.

    ``absorbed``: the addition of a MatMul's bias and the activation, in order. ``sum``: what
    the kernel accumulates, bias included, before the activation. ``ceiling``: upper bound of
    the absorbed activation (infinite where there is none).
    """

    node: ir.Node
    operator: Operator
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
    def moves(self) -> bool:
        """Whether its output lies on the grid of its input, because nothing is computed."""
        return self.operator.kind == "movement"

    @property
    def takes_bias(self) -> bool:
        """Whether the kernel adds a bias by the channel, or could."""
        return self.bias is not None or self.operator.bias is not None

    @property
    def channel_axis(self) -> int:
        """The axis of ``sum`` that the bias runs along."""
        return self.operator.channel_axis

    @property
    def weight_axis(self) -> int | None:
        """The axis of the weight that has a scale each; None: one scale for all."""
        return self.operator.weight_axis(self.node)

    def weight_array(self) -> Array:
        """The float weight of a unit that has one (shared memory)."""
        array = constant(self.weight)
        assert array is not None
        return array

    def bias_array(self) -> Array | None:
        """The float bias, ``[channels]``, if there is one."""
        array = constant(self.bias)
        return None if array is None else array.reshape(-1)

    def reads(self, node: ir.Node, index: int) -> bool:
        """Whether input ``index`` of ``node`` is an activation that this unit takes in."""
        return node is self.node and (self.operator.data is None or index in self.operator.data)


@dataclass(frozen=True)
class Plan:
    """``units``: what runs in INT8, in graph order. ``float_reasons``: why the rest does not."""

    units: tuple[Unit, ...]
    float_reasons: Mapping[str, str]
    _by_output: Mapping[ir.Value, Unit] = field(repr=False)
    _by_node: Mapping[ir.Node, Unit] = field(repr=False)
    form: QdqForm = ONNX_RUNTIME

    def producer(self, value: ir.Value) -> Unit | None:
        """The INT8 unit whose result ``value`` is."""
        return self._by_output.get(value)

    def rounds(self, value: ir.Value) -> bool:
        """Whether ``value`` comes out of an INT8 kernel that gives no float result."""
        unit = self._by_output.get(value)
        if unit is None or not unit.operator.int8_output:
            return False
        return not unit.moves or self.rounds(unit.data[0])

    def readers(self, value: ir.Value) -> Iterator[Unit]:
        """The INT8 units that take ``value`` in as an activation."""
        for use in value.uses():
            unit = self._by_node.get(use.node)
            if unit is not None and unit.reads(use.node, use.idx):
                yield unit

    def possible_values(self) -> tuple[ir.Value, ...]:
        """Every activation that lies on a grid, or would if what reads it were in float."""
        values: dict[ir.Value, None] = {}
        for unit in self.units:
            values.update(dict.fromkeys(unit.data))
            if unit.operator.int8_output:
                values[unit.output] = None
        return tuple(values)

    def quantized_values(self) -> tuple[ir.Value, ...]:
        """Every activation that lies on a grid, in graph order."""
        values = self.possible_values()
        if not self.form.rounds_last:
            return values
        floats = self._added_in_kernels()
        return tuple(v for v in values if v not in floats and self._is_read_as_bytes(v))

    def placed_values(self) -> tuple[ir.Value, ...]:
        """Those of ``quantized_values`` that are rounded where they stand.

        Where kernels round last, what was only moved is on its grid already.
        """
        values = self.quantized_values()
        if not self.form.rounds_last:
            return values
        return tuple(value for value in values if self.source(value) is value)

    def _is_read_as_bytes(self, value: ir.Value) -> bool:
        return next(self.readers(value), None) is not None

    def _added_in_kernels(self) -> set[ir.Value]:
        """Results of kernels that go on to add the other operand of a sum, one a sum."""
        sums = (unit for unit in self.units if unit.operator.sums)
        found = (next(filter(partial(self._adds_up, unit), unit.data), None) for unit in sums)
        return {value for value in found if value is not None}

    def _adds_up(self, sum_: Unit, value: ir.Value) -> bool:
        """Whether the kernel that computes ``value`` can add the other operand of ``sum_``."""
        maker = self._by_output.get(value)
        if maker is None or maker.operator.kind != "compute" or not maker.operator.int8_output:
            return False
        return only_user(value) is sum_.node and not maker.absorbed

    def weight_groups(self) -> list[tuple[Unit, ...]]:
        """The units that have a weight, those together that read the same one alike."""
        groups: dict[tuple[ir.Value, int | None], list[Unit]] = {}
        for unit in self.units:
            if unit.weight is not None:
                groups.setdefault((unit.weight, unit.weight_axis), []).append(unit)
        return [tuple(group) for group in groups.values()]

    def source(self, value: ir.Value) -> ir.Value:
        """The value whose grid ``value`` shares because it was only moved since."""
        unit = self._by_output.get(value)
        while unit is not None and unit.moves:
            value = unit.data[0]
            unit = self._by_output.get(value)
        return value


def make_plan(
    graph: ir.Graph,
    keep_float: Mapping[str, str] | Set[str] = frozenset(),
    form: QdqForm = ONNX_RUNTIME,
) -> Plan:
    """Plan the INT8 operators of ``graph`` (typed, with unique node names).

    ``keep_float``: names of nodes that stay in float, with the reason where it is a mapping.
    ``form``: of the engine that the plan is for.
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
        unit = _make_unit(node, keep_float, form)
        taken.update(unit.absorbed)
        units.append(unit)
    return _drop_pointless(units, reasons, form)


def is_float(value: ir.Value | None) -> bool:
    """Whether ``value`` is a float32 tensor."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def _refusal(node: ir.Node) -> str | None:
    operator = operator_of(node)
    if not any(is_float(output) for output in node.outputs):
        return "it computes no float32 values"
    if operator is None or operator.kind == "float":
        return f"no INT8 kernel for {node.op_type} pays"
    if operator.kind == "activation":
        return "it does not directly follow an operator that could absorb it"
    data = node.inputs if operator.data is None else [node.inputs[i] for i in operator.data]
    if not all(is_float(value) for value in data):
        return "it does not read float32 values"
    return operator.refuse(node) or _constant_data(data)


def _constant_data(data: Sequence[ir.Value | None]) -> str | None:
    if any(is_constant(value) for value in data):
        return "it reads a constant, not what comes from the samples"
    return None


def _make_unit(node: ir.Node, keep_float: Mapping[str, str] | Set[str], form: QdqForm) -> Unit:
    operator = operator_of(node)
    assert operator is not None
    indices = range(len(node.inputs)) if operator.data is None else operator.data
    bias = _input(node, operator.bias)
    absorbed: list[ir.Node] = []
    output = node.outputs[0]
    addition = operator.added_bias(node)
    if addition is not None and addition[0].name not in keep_float:
        add, bias = addition
        output = add.outputs[0]
        absorbed.append(add)
    accumulated = output
    follower = only_user(output) if operator.fuses_activation else None
    ceiling = _ceiling(follower)
    if follower is not None and (ceiling is not None or form.computes_in_kernel(follower)):
        output = follower.outputs[0]
        absorbed.append(follower)
    return Unit(
        node=node,
        operator=operator,
        data=tuple(v for v in (node.inputs[i] for i in indices) if v is not None),
        weight=_input(node, operator.weight),
        bias=bias,
        absorbed=tuple(absorbed),
        sum=accumulated,
        output=output,
        ceiling=math.inf if ceiling is None else ceiling,
        has_activation=ceiling is not None,
    )


def _input(node: ir.Node, index: int | None) -> ir.Value | None:
    return node.inputs[index] if index is not None and index < len(node.inputs) else None


def _ceiling(activation: ir.Node | None) -> float | None:
    """The upper bound of an ``activation`` that the edges of a grid can clip for, else None.

    A grid that starts at zero clips below zero by itself, and its top stays at or below the upper
    bound. Other lower bounds rarely fall on a grid.
    """
    operator = operator_of(activation)
    if activation is None or operator is None or operator.kind != "activation":
        return None
    bounds = operator.bounds(activation)
    return bounds[1] if bounds is not None and bounds[0] == 0.0 and bounds[1] > 0.0 else None


def _drop_pointless(units: list[Unit], reasons: dict[str, str], form: QdqForm) -> Plan:
    while True:
        plan = Plan(
            tuple(units),
            reasons,
            {unit.output: unit for unit in units},
            {unit.node: unit for unit in units},
            form,
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
    match unit.operator.kind:
        case "arithmetic":
            for value in unit.data:
                if not plan.rounds(value):
                    return f"its input {value.name!r} is computed in float"
            if not _needed(unit.output, plan):
                return "no INT8 operator reads its result"
        case "movement":
            if unit.operator.picks and not plan.rounds(unit.data[0]):
                return "it pools float values, of which fewer are to be rounded behind"
            if not plan.rounds(unit.data[0]) and not _all_readers_int8(unit.output, plan):
                return "it moves float values"
    return None


def _needed(value: ir.Value, plan: Plan) -> bool:
    return any(not unit.moves or _needed(unit.output, plan) for unit in plan.readers(value))


def _all_readers_int8(value: ir.Value, plan: Plan) -> bool:
    readers = list(plan.readers(value))
    return bool(readers) and len(readers) == len(value.uses()) and not value.is_graph_output()
