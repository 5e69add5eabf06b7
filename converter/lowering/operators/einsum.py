"""Einsum as one MatMul between Transposes and Reshapes that say what it sums over.

Labels of two operands are of four kinds: in both and in the result (batch), in both and summed
over, and in the result from the left or the right alone. A MatMul takes batch first, then one
axis of each of its two other kinds. Weights are brought into that form once; for the rest,
axes are merged only where more than one of a kind meets. What remains, diagonals and several
dynamic sizes to be merged, is an ONNX Einsum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from converter.lowering.builder import Builder


@dataclass(frozen=True)
class _Operand:
    """A tensor, the labels of its axes, and their sizes (-1 where dynamic)."""

    tensor: str
    labels: str
    sizes: dict[str, int]


class _Dynamic(Exception):
    """Axes would have to be merged, or parted, of which more than one is dynamic."""


def einsum(build: Builder, node: Any) -> Sequence[str]:
    """TensorFlow's Einsum of one or two operands; axes are labelled as in its equation."""
    equation = node.get_attr_str("equation").replace(" ", "")
    operands = _labelled(build, list(node.input), equation)
    if operands is not None:
        *given, result = operands
        try:
            if len(given) == 1:
                return [_in_order(build, _summed(build, given[0], result.labels), result.labels)]
            left, right = (
                _summed(build, one, other.labels + result.labels)
                for one, other in (given, reversed(given))
            )
            return [_product(build, left, right, result.labels)]
        except _Dynamic:
            pass
    return [build.op("Einsum", *node.input, equation=equation)]


def _labelled(build: Builder, tensors: list[str], equation: str) -> list[_Operand] | None:
    """Operands and result with one letter an axis, or ``None`` where that is not enough."""
    terms, _, output = equation.partition("->")
    labels = [*terms.split(","), output]
    shapes = [build.shape(tensor) for tensor in tensors]
    if "->" not in equation or len(tensors) > 2 or any(shape is None for shape in shapes):
        return None
    dots = {
        len(shape or ()) - len(term) + 3
        for term, shape in zip(labels, shapes, strict=False)
        if "..." in term
    }
    if len(dots) > 1:
        return None
    free = (chr(code) for code in range(ord("À"), ord("À") + 64))
    ellipsis = "".join(next(free) for _ in range(max(dots, default=0)))
    labels = [term.replace("...", ellipsis) for term in labels]
    if any(len(set(term)) != len(term) for term in labels):
        return None
    operands = [
        _Operand(tensor, term, dict(zip(term, shape or (), strict=True)))
        for tensor, term, shape in zip(tensors, labels, shapes, strict=False)
    ]
    return [*operands, _Operand("", labels[-1], {})]


def _summed(build: Builder, operand: _Operand, needed: str) -> _Operand:
    """Sum over the axes that nothing else speaks of."""
    axes = [i for i, label in enumerate(operand.labels) if label not in needed]
    if not axes:
        return operand
    kept = "".join(label for label in operand.labels if label in needed)
    tensor = build.reduce("ReduceSum", operand.tensor, axes)
    return _Operand(tensor, kept, operand.sizes)


def _in_order(build: Builder, operand: _Operand, labels: str) -> str:
    """The tensor with its axes in the order of ``labels``, which are its own."""
    if operand.labels == labels:
        return operand.tensor
    perm = [operand.labels.index(label) for label in labels]
    return build.op("Transpose", operand.tensor, perm=perm)


def _product(build: Builder, left: _Operand, right: _Operand, result: str) -> str:
    shared = [label for label in left.labels if label in right.labels]
    contracted = "".join(label for label in shared if label not in result)
    if not contracted:
        return build.op("Mul", *(_spread(build, one, result) for one in (left, right)))
    # A MatMul leaves what came from its right last: where the result has it first, swap.
    own = "".join(label for label in result if label not in shared)
    if own and own[-1] in left.labels:
        left, right = right, left
    batch = "".join(label for label in result if label in shared)
    rows = "".join(label for label in result if label in left.labels and label not in batch)
    columns = "".join(label for label in result if label in right.labels and label not in batch)
    contracted = _least_moved(contracted, left.labels, right.labels)
    sizes = left.sizes | right.sizes
    # Without a batch the rows may stay axes of their own: MatMul broadcasts the right side.
    leading, row = (batch, rows) if batch or not rows else (rows[:-1], rows[-1:])
    a = _grouped(build, left, leading, [row, contracted])
    b = _grouped(build, right, batch, [contracted, columns])
    product = build.op("MatMul", a, b)
    produced = leading + row + columns
    if len(row) != 1 or len(columns) != 1:
        product = _parted(build, product, leading, [row, columns], sizes)
    return _in_order(build, _Operand(product, produced, sizes), result)


def _least_moved(contracted: str, left: str, right: str) -> str:
    """An order of the summed axes that one side has already, so that it need not be transposed."""
    for labels in (left, right):
        ordered = "".join(label for label in labels if label in contracted)
        if ordered in labels:
            return ordered
    return contracted


def _spread(build: Builder, operand: _Operand, result: str) -> str:
    """The operand with the axes of the result, those that it lacks of size one."""
    ordered = _in_order(build, operand, "".join(x for x in result if x in operand.labels))
    missing = [i for i, label in enumerate(result) if label not in operand.labels]
    return build.unsqueeze(ordered, *missing) if missing else ordered


def _grouped(build: Builder, operand: _Operand, leading: str, groups: list[str]) -> str:
    """Transposed to ``leading`` and then one axis for each group."""
    tensor = _in_order(build, operand, leading + "".join(groups))
    if all(len(group) == 1 for group in groups):
        return tensor
    shape = [0] * len(leading)
    place = len(leading)
    for group in groups:
        sizes = [operand.sizes[label] for label in group]
        if len(group) == 1 and place == len(shape):
            shape.append(0)
        else:
            shape.append(-1 if -1 in sizes else prod(sizes))
        place += len(group)
    if shape.count(-1) > 1:
        raise _Dynamic
    return build.reshape(tensor, shape)


def _parted(
    build: Builder, tensor: str, leading: str, groups: list[str], sizes: dict[str, int]
) -> str:
    """The inverse of ``_grouped`` on a product: axes of each group for the one axis it has."""
    shape = [0] * len(leading)
    for position, group in enumerate(groups):
        if len(group) == 1 and len(shape) == len(leading) + position:
            shape.append(0)  # the same place before and after: whatever size it has
        else:
            shape += [sizes[label] for label in group]
    if shape.count(-1) > 1:
        raise _Dynamic
    return build.reshape(tensor, shape)
