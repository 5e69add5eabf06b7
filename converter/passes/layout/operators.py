"""How operators compute when their data are in another form: with reordered or additional axes.

A form s of a value v holds the same numbers; an ``AxisOrder`` says which axes of s the axes of v
are. For each operator here, computing on such forms with remapped attributes gives that form of
the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.axis_order import AxisOrder
from runtimes.onnx_graph.values import (
    Array,
    add_initializer,
    constant,
    is_constant,
    rank,
    small_ints,
)


@dataclass(frozen=True)
class Changes:
    """New attribute values and new constant inputs of a node."""

    attributes: Mapping[str, int | Sequence[int]]
    constants: Mapping[int, Array]


_NOTHING = Changes({}, {})


@dataclass(frozen=True)
class Mover:
    """A node that can compute on other forms of its data.

    ``data`` are the positions of the inputs that change form, all in the same way. ``output`` maps
    the order of the data to that of the outputs, and ``source`` maps the order of the outputs to
    that of the data; both return ``None`` if it is not determined. ``remap`` returns the changes
    for given orders of the data and the outputs, or ``None`` if the node cannot compute on them.
    """

    node: ir.Node
    data: tuple[int, ...]
    output: Callable[[AxisOrder], AxisOrder | None]
    source: Callable[[AxisOrder], AxisOrder | None]
    remap: Callable[[AxisOrder, AxisOrder], Changes | None]

    def fits(self, order: AxisOrder, output: AxisOrder) -> bool:
        """Whether data in this form can give outputs in that one."""
        if self.node.op_type == "Unsqueeze":
            # A new axis may be at any position.
            agree = self.source(output) == order
        else:
            agree = self.output(order) == output
        return agree and self.remap(order, output) is not None


def mover(node: ir.Node) -> Mover | None:
    """The rule for ``node``, or ``None`` if it depends on the order of the axes."""
    if node.domain != "" or not node.inputs or node.inputs[0] is None:
        return None
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(node)


def rebuild(
    found: Mover,
    order: AxisOrder,
    output: AxisOrder,
    forms: Mapping[int, ir.Value],
    graph: ir.Graph,
) -> ir.Node:
    """The node that computes on ``forms`` (by position); it is not yet part of ``graph``."""
    node = found.node
    changes = found.remap(order, output)
    assert changes is not None
    inputs: list[ir.Value | None] = list(node.inputs)
    for position, value in forms.items():
        inputs[position] = value
    for position, array in changes.constants.items():
        old = node.inputs[position]
        base = (old.name if old is not None else None) or "constant"
        inputs[position] = add_initializer(graph, f"{base}_transposed", array)
    attributes = dict(node.attributes)
    for name, number in changes.attributes.items():
        attributes[name] = (
            ir.AttrInt64(name, number)
            if isinstance(number, int)
            else ir.AttrInt64s(name, list(number))
        )
    result = ir.Node(
        node.domain,
        node.op_type,
        inputs,
        list(attributes.values()),
        num_outputs=len(node.outputs),
        version=node.version,
        name=node.name,
        doc_string=node.doc_string,
        metadata_props=dict(node.metadata_props),
    )
    for new, old in zip(result.outputs, node.outputs, strict=True):
        new.type = old.type
        new.shape = output.shape(old.shape)
    return result


def _same(order: AxisOrder) -> AxisOrder:
    return order


def _remapped(order: AxisOrder, constants: Mapping[int, ir.Value]) -> Changes | None:
    """Changes that reorder constant operands, so that they broadcast with the reordered data."""
    new: dict[int, Array] = {}
    for place, value in constants.items():
        array = constant(value)
        moved = order.array(array) if array is not None else None
        if array is None or moved is None:
            return None
        if moved is not array:
            new[place] = moved
    return Changes({}, new)


def _operands(node: ir.Node) -> tuple[tuple[int, ...], dict[int, ir.Value]] | None:
    """Positions of the data, all with the rank of the output, and the constant operands."""
    full = rank(node.outputs[0])
    constants = {p: v for p, v in enumerate(node.inputs) if v is not None and is_constant(v)}
    moving = {p: v for p, v in enumerate(node.inputs) if v is not None and p not in constants}
    ranks = {p: rank(v) for p, v in moving.items()}
    # A single number computed at run time broadcasts in any axis order.
    data = tuple(p for p, r in ranks.items() if r != 0)
    if not data or full is None or any(ranks[p] != full for p in data):
        return None
    if any((rank(v) or 0) > full for v in constants.values()):
        return None
    return data, constants


def _elementwise(node: ir.Node) -> Mover | None:
    operands = _operands(node)
    if operands is None:
        return None
    data, constants = operands

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        return _remapped(order, constants)

    return Mover(node, data, _same, _same, remap)


def _concat(node: ir.Node) -> Mover | None:
    operands = _operands(node)
    if operands is None:
        return None
    data, constants = operands
    full = rank(node.outputs[0])
    if full is None or any(rank(v) != full for v in constants.values()):
        return None
    axis = node.attributes.get_int("axis", 0) % full

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        place = order.places[axis]
        arrays = {p: constant(v) for p, v in constants.items()}
        # Concat does not broadcast, so even a single number needs all axes.
        moved = {p: order.reordered(a) for p, a in arrays.items() if a is not None}
        found = {p: a for p, a in moved.items() if a is not None}
        if place is None or len(found) != len(constants):
            return None
        return Changes({"axis": place}, found)

    return Mover(node, data, _same, _same, remap)


def _by_axis(default: int) -> Callable[[ir.Node], Mover | None]:
    """Operators that work along one axis, given by an attribute."""

    def rule(node: ir.Node) -> Mover | None:
        full = rank(node.inputs[0])
        if full is None or any(rank(output) != full for output in node.outputs):
            return None
        axis = node.attributes.get_int("axis", default) % full

        def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
            place = order.places[axis]
            return None if place is None else Changes({"axis": place}, {})

        return Mover(node, (0,), _same, _same, remap)

    return rule


def _axes_of(node: ir.Node, place: int, full: int) -> tuple[int, ...] | None:
    """The axes of ``node``, from an attribute or a constant input; all axes if none are given."""
    value = node.inputs[place] if len(node.inputs) > place else None
    attribute = tuple(node.attributes.get_ints("axes", ()))
    axes = attribute if value is None else small_ints(value)
    if axes is None:
        return None
    if not axes:
        return () if node.attributes.get_int("noop_with_empty_axes", 0) else tuple(range(full))
    return tuple(axis % full for axis in axes)


def _with_axes(node: ir.Node, place: int, axes: Sequence[int]) -> Changes:
    """The change that sets the axes of ``node`` to ``axes``, in its attribute or input."""
    if len(node.inputs) > place and node.inputs[place] is not None:
        return Changes({}, {place: np.array(axes, np.int64)})
    return Changes({"axes": list(axes)}, {})


def _reduce(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    axes = None if full is None else _axes_of(node, 1, full)
    if full is None or not axes:
        return None
    kept = bool(node.attributes.get_int("keepdims", 1))
    named = bool(node.attributes.get_ints("axes", ())) or len(node.inputs) > 1

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        moved = order.axes(axes)
        if moved is None:
            return None
        if not named:
            return _NOTHING if order.rank == full else None
        return _with_axes(node, 1, moved)

    if kept:
        return Mover(node, (0,), _same, _same, remap)
    return Mover(node, (0,), lambda order: order.without(axes), lambda order: None, remap)


def _squeeze(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    axes = _axes_of(node, 1, full) if full is not None and len(node.inputs) > 1 else None
    if not axes:
        return None

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        moved = order.axes(axes)
        return None if moved is None else _with_axes(node, 1, moved)

    return Mover(node, (0,), lambda order: order.without(axes), lambda order: None, remap)


def _unsqueeze(node: ir.Node) -> Mover | None:
    before = rank(node.inputs[0])
    places = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if before is None or places is None:
        return None
    full = before + len(places)
    axes = [axis % full for axis in places]
    old = [axis for axis in range(full) if axis not in axes]

    def output(order: AxisOrder) -> AxisOrder | None:
        """By default, new axes are at the same positions as in the value."""
        if order.rank != before or None in order.places:
            return None
        result: list[int | None] = list(range(full))
        for place, axis in zip(old, order.places, strict=True):
            result[place] = None if axis is None else old[axis]
        return AxisOrder(tuple(result), full)

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        moved = output.axes(axes)
        return None if moved is None else Changes({}, {1: np.array(moved, np.int64)})

    return Mover(node, (0,), output, lambda order: order.without(axes), remap)


def _pad(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    pads = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if full is None or pads is None or len(pads) != 2 * full or len(node.inputs) > 3:
        return None

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        padded = [axis for axis in range(full) if pads[axis] or pads[axis + full]]
        if order.axes(padded) is None:
            return None
        moved = [*order.carry(pads[:full], 0), *order.carry(pads[full:], 0)]
        return Changes({}, {1: np.array(moved, np.int64)})

    return Mover(node, (0,), _same, _same, remap)


def _slice(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    if full is None or len(node.inputs) < 4:
        return None
    given = node.inputs[3]
    axes = small_ints(given)
    if given is None or axes is None:
        return None
    kind = np.int64 if given.dtype is None else given.dtype.numpy()

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        moved = order.axes([axis % full for axis in axes])
        # Starts, ends and axes have the same type, 32 or 64 bits.
        return None if moved is None else Changes({}, {3: np.array(moved, kind)})

    return Mover(node, (0,), _same, _same, remap)


def _tile(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    repeats = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if full is None or repeats is None or len(repeats) != full:
        return None

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        repeated = [axis for axis, times in enumerate(repeats) if times != 1]
        if order.axes(repeated) is None:
            return None
        return Changes({}, {1: np.array(order.carry(repeats, 1), np.int64)})

    return Mover(node, (0,), _same, _same, remap)


def _quantize(node: ir.Node) -> Mover | None:
    """QuantizeLinear and DequantizeLinear, per tensor or per slice of ``axis``."""
    full = rank(node.inputs[0])
    scale = node.inputs[1] if len(node.inputs) > 1 else None
    if full is None or scale is None or rank(scale) not in (0, 1) or is_constant(node.inputs[0]):
        return None
    axis = node.attributes.get_int("axis", 1) % full

    def remap(order: AxisOrder, output: AxisOrder) -> Changes | None:
        place = order.places[axis]
        if rank(scale) == 0:
            return _NOTHING
        return None if place is None else Changes({"axis": place}, {})

    return Mover(node, (0,), _same, _same, remap)


_RULES: dict[str, Callable[[ir.Node], Mover | None]] = {
    **dict.fromkeys(
        (
            *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu"),
            *("Clip", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
            *("HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg"),
            *("Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin"),
            *("Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu"),
            *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "Min", "Max", "Sum", "Mean"),
            *("Where", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or"),
            *("Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift"),
        ),
        _elementwise,
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _by_axis(-1)),
    "Split": _by_axis(0),
    "Concat": _concat,
    **dict.fromkeys(
        (
            *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"),
            *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
        ),
        _reduce,
    ),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Pad": _pad,
    "Slice": _slice,
    "Tile": _tile,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantize),
}
