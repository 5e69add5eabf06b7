"""Diagonals: putting one into matrices, and tensors that have nothing beside theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering


def set_diagonal(build: Builder, node: Any) -> Sequence[str]:
    """MatrixSetDiag, V2 and V3, of one diagonal."""
    matrix, diagonal, *offsets = node.input
    rows, columns = (
        build.op("Gather", build.op("Shape", matrix), build.constant(axis), axis=0)
        for axis in (-2, -1)
    )
    offset = _offset(node, 2) if offsets else 0
    return [_with_diagonal(build, diagonal, offset, (rows, columns), matrix)]


def matrix_diagonal(build: Builder, node: Any) -> Sequence[str]:
    """MatrixDiag, V2 and V3: a vector as one diagonal of a matrix, square unless it is said."""
    diagonal, *rest = node.input
    if not rest:
        count = _count(build, diagonal)
        return [_with_diagonal(build, diagonal, 0, (count, count), build.scalar(0, like=diagonal))]
    offset, *sizes = _offset(node, 1), _number(node, 2), _number(node, 3)
    given = any(size >= 0 for size in sizes)
    # The smallest matrix that has the diagonal: rows above it or columns before it.
    beside = (max(-offset, 0), max(offset, 0)) if given else (abs(offset),) * 2
    count = _count(build, diagonal)
    rows, columns = (
        build.constant(size) if size >= 0 else build.op("Add", count, build.constant(more))
        for size, more in zip(sizes, beside, strict=True)
    )
    return [_with_diagonal(build, diagonal, offset, (rows, columns), rest[3])]


def _with_diagonal(
    build: Builder, diagonal: str, offset: int, sizes: tuple[str, str], others: str
) -> str:
    row, column = (build.op("Range", build.constant(0), size, build.constant(1)) for size in sizes)
    on_it = build.op(
        "Equal", build.op("Sub", column, build.unsqueeze(row, 1)), build.constant(offset)
    )
    # A diagonal above the main one is counted by rows, one below by columns.
    last = build.op("Sub", _count(build, diagonal), build.constant(1))
    place = build.op("Min", row if offset >= 0 else column, last)
    values = build.op("Gather", diagonal, place, axis=-1)
    values = build.unsqueeze(values, -1 if offset >= 0 else -2)
    return build.op("Where", on_it, values, others)


def tensor_diagonal(build: Builder, node: Any) -> Sequence[str]:
    """Diag: a tensor as the diagonal of one of twice its rank."""
    (x,) = node.input
    shape = build.op("Shape", x)
    flat = build.reshape(x, [-1])
    place = _range(build, build.op("Shape", flat), 0)
    on_it = build.op("Equal", place, build.unsqueeze(place, 1))
    spread = build.op("Where", on_it, flat, build.scalar(0, like=x))
    return [build.op("Reshape", spread, build.op("Concat", shape, shape, axis=0))]


def tensor_diagonal_part(build: Builder, node: Any) -> Sequence[str]:
    """DiagPart: the diagonal of a tensor whose shape is one shape twice."""
    (x,) = node.input
    rank = len(build.shape(node.output[0]) or [0])
    shape = build.sizes(x, 0, rank)
    size = build.reduce("ReduceProd", shape, [0])
    place = build.op("Range", build.constant(0), size, build.constant(1))
    step = build.op("Add", size, build.constant(1))
    diagonal = build.op("Gather", build.reshape(x, [-1]), build.op("Mul", place, step), axis=0)
    return [build.op("Reshape", diagonal, shape)]


def _range(build: Builder, shape: str, axis: int) -> str:
    size = build.op("Gather", shape, build.constant(axis), axis=0)
    return build.op("Range", build.constant(0), size, build.constant(1))


def _count(build: Builder, vector: str) -> str:
    return build.op("Gather", build.op("Shape", vector), build.constant(-1), axis=0)


def _offset(node: Any, index: int) -> int:
    source = node.inputs[index]
    values = source.get_tensor_value(as_list=False).reshape(-1) if source.is_const() else []
    if not len(values) or values[0] != values[-1]:
        raise UnsupportedLowering(node, "one diagonal of a constant number is written, no band")
    return int(values[0])


def _number(node: Any, index: int) -> int:
    source = node.inputs[index]
    if not source.is_const():
        raise UnsupportedLowering(node, "the size of its matrix is only known at run time")
    return int(source.get_tensor_value(as_list=False))
