"""Remove nodes that return their input: Identity, Dropout at inference, x·1 and the like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    all_nodes,
    can_be_output,
    constant,
    is_constant,
    is_op,
    rank,
    refine_shape,
    replace_value,
    small_ints,
    static_shape,
)


class RemoveIdentities(RewritePass):
    """Make the users of a node that changes nothing use its input.

    A node stays where its removal would be visible: between an input or initializer and an output,
    between two outputs, and where a subgraph returns a value from outside, which must pass through
    a node. (``onnx_ir``'s own pass merges two outputs into one there.)
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Remove such nodes from the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            source = unchanged_input(node)
            graph = node.graph
            if source is None or graph is None:
                continue
            output = node.outputs[0]
            if output.is_graph_output() and not can_be_output(source, graph):
                continue
            if source.type is None:
                source.type = output.type
            refine_shape(source, output.shape)
            replace_value(output, source)
            graph.remove(node, safe=True)
            modified = True
        return modified


def unchanged_input(node: ir.Node) -> ir.Value | None:
    """The input that ``node`` returns unchanged, or ``None`` if it may change it."""
    if node.domain != "" or not node.inputs or node.inputs[0] is None:
        return None
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    if node.op_type in ("Add", "Sub", "Mul", "Div"):
        return _neutral_operand(node)
    rule = _CHANGES_NOTHING.get(node.op_type)
    return node.inputs[0] if rule is not None and rule(node) else None


def _neutral_operand(node: ir.Node) -> ir.Value | None:
    """The operand x of x+0, 0+x, x-0, x·1, 1·x or x/1, if broadcasting does not enlarge it."""
    left, right = node.inputs
    neutral = 0 if is_op(node, "Add", "Sub") else 1
    pairs = [(left, right)]
    if is_op(node, "Add", "Mul"):
        pairs.append((right, left))
    for kept, other in pairs:
        if (
            kept is not None
            and other is not None
            and _all_equal(other, neutral)
            and not _widens(kept, other)
        ):
            return kept
    return None


def _widens(kept: ir.Value, other: ir.Value) -> bool:
    """Whether broadcasting with ``other`` could change the shape of ``kept``."""
    kept_rank, shape = rank(kept), static_shape(other)
    if kept.shape is None or kept_rank is None or shape is None or len(shape) > kept_rank:
        return shape != ()
    tail = list(kept.shape)[kept_rank - len(shape) :]
    return any(want not in (1, have) for want, have in zip(shape, tail, strict=True))


def _all_equal(value: ir.Value, number: float) -> bool:
    if not is_constant(value) or value.const_value is None or value.const_value.size > 65536:
        return False
    array = constant(value)
    return array is not None and array.dtype.kind in "fiub" and bool(np.all(array == number))


def _pads_nothing(node: ir.Node) -> bool:
    pads = node.attributes.get_ints("pads") if len(node.inputs) < 2 else small_ints(node.inputs[1])
    return pads is not None and not any(pads)


def _reshapes_to_same(node: ir.Node) -> bool:
    """Whether every dimension stays the same; at most one may be computed (-1)."""
    source, target = node.inputs[0], small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if source is None or source.shape is None or target is None:
        return False
    if len(target) != len(source.shape):
        return False
    zero_copies = not node.attributes.get_int("allowzero", 0)
    unknown = 0
    for want, have in zip(target, source.shape, strict=True):
        if want == -1:
            unknown += 1
        elif not (want == have or (want == 0 and zero_copies)):
            return False
    return unknown <= 1


def _expands_nothing(node: ir.Node) -> bool:
    target = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if target is None or shape is None or len(target) > len(shape):
        return False
    tail = list(shape)[len(shape) - len(target) :]
    return all(want in (1, have) for want, have in zip(target, tail, strict=True))


def _slices_everything(node: ir.Node) -> bool:
    if not 3 <= len(node.inputs) <= 5:
        return False
    source = node.inputs[0]
    starts, ends = small_ints(node.inputs[1]), small_ints(node.inputs[2])
    axes_value = node.inputs[3] if len(node.inputs) > 3 else None
    steps_value = node.inputs[4] if len(node.inputs) > 4 else None
    if starts is None or ends is None or source is None or source.shape is None:
        return False
    axes = tuple(range(len(starts))) if axes_value is None else small_ints(axes_value)
    steps = (1,) * len(starts) if steps_value is None else small_ints(steps_value)
    if axes is None or steps is None:
        return False
    return all(
        start == 0 and step == 1 and _reaches_end(end, source.shape[axis])
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    )


def _reaches_end(end: int, dim: int | ir.SymbolicDim) -> bool:
    # The int32 and int64 maxima mean "to the end" in ONNX.
    return end >= dim if isinstance(dim, int) else end >= 2**31 - 1


def _drops_nothing(node: ir.Node) -> bool:
    training = node.inputs[2] if len(node.inputs) > 2 else None
    return training is None or _all_equal(training, 0)


def _casts_to_same(node: ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.dtype == node.attributes.get_int("to", 0)


def _permutes_nothing(node: ir.Node) -> bool:
    perm = node.attributes.get_ints("perm", ())
    return len(perm) > 0 and list(perm) == sorted(perm)


def _repeats_nothing(node: ir.Node) -> bool:
    repeats = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    return repeats is not None and all(repeat == 1 for repeat in repeats)


_CHANGES_NOTHING: dict[str, Callable[[ir.Node], bool]] = {
    "Identity": lambda node: True,
    "Dropout": _drops_nothing,
    "Cast": _casts_to_same,
    "Transpose": _permutes_nothing,
    "Pad": _pads_nothing,
    "Reshape": _reshapes_to_same,
    "Expand": _expands_nothing,
    "Tile": _repeats_nothing,
    "Slice": _slices_everything,
    **dict.fromkeys(("Concat", "Sum", "Max", "Min", "Mean"), lambda node: len(node.inputs) == 1),
}
