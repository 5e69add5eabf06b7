"""How operators behave when the axes of their data are stored in another order.

A permutation P relates a value v to its stored form s by ``v = Transpose(s, perm=P)``: axis i
of v is axis P[i] of s. For each operator here, computing on stored forms with remapped
attributes gives the stored form of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converter.passes.values import (
    Array,
    add_initializer,
    constant,
    is_constant,
    rank,
    small_ints,
)

Perm = tuple[int, ...]


def inverse(perm: Sequence[int]) -> Perm:
    """The permutation that undoes ``perm``."""
    result = [0] * len(perm)
    for place, axis in enumerate(perm):
        result[axis] = place
    return tuple(result)


def compose(first: Sequence[int], second: Sequence[int]) -> Perm:
    """Perm of ``Transpose(Transpose(x, first), second)``."""
    return tuple(first[axis] for axis in second)


@dataclass(frozen=True)
class Mover:
    """A node that can compute on stored forms.

    ``data`` are the positions of the inputs that are stored in another order, all with the
    same permutation. ``output`` gives the permutation of the outputs for that of the data,
    ``source`` that of the data for that of the outputs, or ``None`` where it does not follow.
    ``remap`` says what to change for a permutation of the data and one of the outputs.
    """

    node: ir.Node
    data: tuple[int, ...]
    output: Callable[[Perm], Perm]
    source: Callable[[Perm], Perm | None]
    remap: Callable[[Perm, Perm], Changes]

    def fits(self, perm: Perm, output: Perm) -> bool:
        """Whether data stored by ``perm`` can give outputs stored by ``output``."""
        if self.node.op_type == "Unsqueeze":
            # A new axis may be stored at any place.
            return self.source(output) == perm
        return self.output(perm) == output


@dataclass(frozen=True)
class Changes:
    """New attribute values and new constant inputs of a node."""

    attributes: Mapping[str, int | Sequence[int]]
    constants: Mapping[int, Array]


_NOTHING = Changes({}, {})


def mover(node: ir.Node) -> Mover | None:
    """The rule for ``node``, or ``None`` where it depends on the order of the axes."""
    if node.domain != "" or not node.inputs or node.inputs[0] is None:
        return None
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(node)


def rebuild(
    found: Mover, perm: Perm, output: Perm, stored: Mapping[int, ir.Value], graph: ir.Graph
) -> ir.Node:
    """The node that computes on ``stored`` (by position); it is not yet part of ``graph``."""
    node = found.node
    changes = found.remap(perm, output)
    inputs: list[ir.Value | None] = list(node.inputs)
    for position, value in stored.items():
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
        new.shape = stored_shape(old.shape, output)
    return result


def stored_shape(shape: ir.Shape | None, perm: Perm) -> ir.Shape | None:
    """Shape of the stored form of a value of ``shape``."""
    if shape is None or len(shape) != len(perm):
        return None
    return ir.Shape(shape[axis] for axis in inverse(perm))


def _same(perm: Perm) -> Perm:
    return perm


def _stored_constant(value: ir.Value, perm: Perm) -> Array | None:
    """A constant operand broadcast to the rank of ``perm`` and stored like the data.

    ``None`` for a single number, which is the same in any order.
    """
    array = constant(value)
    if array is None or array.size == 1:
        return None
    wide = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    return np.ascontiguousarray(np.transpose(wide, inverse(perm)))


def _operands(node: ir.Node) -> tuple[tuple[int, ...], dict[int, ir.Value]] | None:
    """Positions of the data, all of the rank of the output, and the constants beside them."""
    full = rank(node.outputs[0])
    constants = {p: v for p, v in enumerate(node.inputs) if v is not None and is_constant(v)}
    moving = {p: v for p, v in enumerate(node.inputs) if v is not None and p not in constants}
    ranks = {p: rank(v) for p, v in moving.items()}
    # A number computed at run time broadcasts alike in any order of the axes.
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

    def remap(perm: Perm, output: Perm) -> Changes:
        stored = {p: _stored_constant(v, perm) for p, v in constants.items()}
        return Changes({}, {p: array for p, array in stored.items() if array is not None})

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

    def remap(perm: Perm, output: Perm) -> Changes:
        arrays = {p: constant(v) for p, v in constants.items()}
        stored = {
            p: np.ascontiguousarray(np.transpose(array, inverse(perm)))
            for p, array in arrays.items()
            if array is not None
        }
        return Changes({"axis": perm[axis]}, stored)

    return Mover(node, data, _same, _same, remap)


def _by_axis(default: int) -> Callable[[ir.Node], Mover | None]:
    """Operators that work along the one axis that their attribute names."""

    def rule(node: ir.Node) -> Mover | None:
        full = rank(node.inputs[0])
        if full is None or any(rank(output) != full for output in node.outputs):
            return None
        axis = node.attributes.get_int("axis", default) % full
        return Mover(node, (0,), _same, _same, lambda perm, _: Changes({"axis": perm[axis]}, {}))

    return rule


def _axes_of(node: ir.Node, place: int, full: int) -> tuple[int, ...] | None:
    """The axes that ``node`` names, in an attribute or a constant input; all if none."""
    value = node.inputs[place] if len(node.inputs) > place else None
    attribute = tuple(node.attributes.get_ints("axes", ()))
    axes = attribute if value is None else small_ints(value)
    if axes is None:
        return None
    if not axes:
        return () if node.attributes.get_int("noop_with_empty_axes", 0) else tuple(range(full))
    return tuple(axis % full for axis in axes)


def _with_axes(node: ir.Node, place: int, axes: Sequence[int]) -> Changes:
    """The change that makes ``node`` name ``axes`` where it names its axes now."""
    if len(node.inputs) > place and node.inputs[place] is not None:
        return Changes({}, {place: np.array(axes, np.int64)})
    return Changes({"axes": list(axes)}, {})


def _without(perm: Perm, axes: Sequence[int]) -> Perm:
    """What remains of ``perm`` when these axes of the value go, renumbered."""
    left = [perm[axis] for axis in range(len(perm)) if axis not in axes]
    order = sorted(left)
    return tuple(order.index(axis) for axis in left)


def _reduce(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    axes = None if full is None else _axes_of(node, 1, full)
    if full is None or not axes:
        return None
    named = bool(node.attributes.get_ints("axes", ())) or len(node.inputs) > 1
    kept = bool(node.attributes.get_int("keepdims", 1))

    def remap(perm: Perm, output: Perm) -> Changes:
        return _with_axes(node, 1, [perm[axis] for axis in axes]) if named else _NOTHING

    if kept:
        return Mover(node, (0,), _same, _same, remap)
    return Mover(node, (0,), lambda perm: _without(perm, axes), lambda perm: None, remap)


def _squeeze(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    axes = _axes_of(node, 1, full) if full is not None and len(node.inputs) > 1 else None
    if not axes:
        return None

    def remap(perm: Perm, output: Perm) -> Changes:
        return _with_axes(node, 1, [perm[axis] for axis in axes])

    return Mover(node, (0,), lambda perm: _without(perm, axes), lambda perm: None, remap)


def _unsqueeze(node: ir.Node) -> Mover | None:
    before = rank(node.inputs[0])
    places = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if before is None or places is None:
        return None
    full = before + len(places)
    axes = [axis % full for axis in places]
    old = [axis for axis in range(full) if axis not in axes]

    def output(perm: Perm) -> Perm:
        result = list(range(full))
        for place, axis in zip(old, perm, strict=True):
            result[place] = old[axis]
        return tuple(result)

    def remap(perm: Perm, output: Perm) -> Changes:
        return Changes({}, {1: np.array([output[axis] for axis in axes], np.int64)})

    return Mover(node, (0,), output, lambda perm: _without(perm, axes), remap)


def _pad(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    pads = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if full is None or pads is None or len(pads) != 2 * full or len(node.inputs) > 3:
        return None

    def remap(perm: Perm, output: Perm) -> Changes:
        back = inverse(perm)
        moved = [pads[side * full + axis] for side in (0, 1) for axis in back]
        return Changes({}, {1: np.array(moved, np.int64)})

    return Mover(node, (0,), _same, _same, remap)


def _slice(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    if full is None or len(node.inputs) < 4:
        return None
    axes = small_ints(node.inputs[3])
    if axes is None:
        return None

    def remap(perm: Perm, output: Perm) -> Changes:
        return Changes({}, {3: np.array([perm[axis % full] for axis in axes], np.int64)})

    return Mover(node, (0,), _same, _same, remap)


def _tile(node: ir.Node) -> Mover | None:
    full = rank(node.inputs[0])
    repeats = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if full is None or repeats is None or len(repeats) != full:
        return None

    def remap(perm: Perm, output: Perm) -> Changes:
        return Changes({}, {1: np.array([repeats[axis] for axis in inverse(perm)], np.int64)})

    return Mover(node, (0,), _same, _same, remap)


def _quantize(node: ir.Node) -> Mover | None:
    """QuantizeLinear and DequantizeLinear with one scale, or one a slice of ``axis``."""
    full = rank(node.inputs[0])
    scale = node.inputs[1] if len(node.inputs) > 1 else None
    if full is None or scale is None or rank(scale) not in (0, 1) or is_constant(node.inputs[0]):
        return None
    axis = node.attributes.get_int("axis", 1) % full

    def remap(perm: Perm, output: Perm) -> Changes:
        return Changes({"axis": perm[axis]}, {}) if rank(scale) == 1 else _NOTHING

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
