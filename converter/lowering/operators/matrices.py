"""Solving, inverting and factoring matrices by elimination, a Loop over columns.

One iteration is a dozen operators, whatever the size; matrices may be batched. What TensorFlow
says to be singular comes out with infinities here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

_INT64 = 7


def inverse(build: Builder, node: Any) -> Sequence[str]:
    """MatrixInverse."""
    a = _adjoint(build, node, node.input[0])
    rows = _Rows(build, node, a)
    eye = build.op("Cast", rows.diagonal(), to=build.dtype(a))
    return [_solved(build, a, build.op("Expand", eye, build.op("Shape", a)), rows)]


def solve(build: Builder, node: Any) -> Sequence[str]:
    """MatrixSolve: ``x`` of ``a x = b``."""
    a = _adjoint(build, node, node.input[0])
    return [_solved(build, a, node.input[1], _Rows(build, node, a))]


def triangular_solve(build: Builder, node: Any) -> Sequence[str]:
    """MatrixTriangularSolve: as above, of a matrix of which one half is not read."""
    a, b = _batched_alike(build, node)
    rows = _Rows(build, node, a)
    kept = rows.triangle(lower=bool(node.get_attr_value("lower", 1)))
    a = build.op("Where", kept, a, build.scalar(0, like=a))
    return [_solved(build, _adjoint(build, node, a), b, rows)]


def log_determinant(build: Builder, node: Any) -> Sequence[str]:
    """LogMatrixDeterminant: the sign, and the logarithm of the absolute value."""
    (a,) = node.input
    rows = _Rows(build, node, a)
    shape = build.shape(a) or []
    one = build.op("Expand", build.scalar(1, like=a), build.sizes(a, 0, len(shape) - 2))
    zero = build.op("Sub", one, one)
    for tensor in (one, zero):
        build.set_shape(tensor, shape[:-2])

    def step(inner: Builder, k: str, state: list[str]) -> list[str]:
        matrix, sign, logarithm = state
        matrix, pivot, moved = _eliminate(inner, matrix, k, rows)
        minus = inner.op("Where", moved, inner.scalar(-1, like=a), inner.scalar(1, like=a))
        sign = inner.op("Mul", sign, inner.op("Mul", inner.op("Sign", pivot), minus))
        return [matrix, sign, inner.op("Add", logarithm, inner.op("Log", inner.op("Abs", pivot)))]

    return build.loop(rows.count, [a, one, zero], step)[1:]


def cholesky(build: Builder, node: Any) -> Sequence[str]:
    """Cholesky: the lower factor of symmetric positive definite matrices."""
    (a,) = node.input
    rows = _Rows(build, node, a)
    rank = len(build.shape(a) or ())

    def step(inner: Builder, k: str, state: list[str]) -> list[str]:
        rest, factor = state
        column = inner.op("Gather", rest, k, axis=rank - 1)
        pivot = inner.op("Gather", column, inner.unsqueeze(k, 0), axis=rank - 2)
        column = inner.op("Div", column, inner.op("Sqrt", pivot))
        above = inner.op("Less", rows.numbers, k)
        column = inner.op("Where", above, inner.scalar(0, like=a), column)
        tall = inner.unsqueeze(column, rank - 1)
        rest = inner.op("Sub", rest, inner.op("Mul", tall, inner.unsqueeze(column, rank - 2)))
        here = inner.op("Equal", rows.numbers, k)
        return [rest, inner.op("Where", here, tall, factor)]

    empty = build.op("Sub", a, a)
    return [build.loop(rows.count, [a, empty], step)[1]]


def qr(build: Builder, node: Any) -> Sequence[str]:
    """Qr by Householder's reflections, with the signs that LAPACK and Eigen give."""
    (a,) = node.input
    rows = _Rows(build, node, a, square=False)
    shape = build.shape(a) or []
    rank = len(shape)
    if min(shape[-2:]) < 1:
        raise UnsupportedLowering(node, "the size of its matrices is only known at run time")
    kept = min(shape[-2:])
    square = build.op(
        "Concat", build.sizes(a, 0, rank - 1), build.sizes(a, rank - 2, rank - 1), axis=0
    )
    q = build.op("Expand", build.op("Cast", rows.diagonal(), to=build.dtype(a)), square)
    build.set_shape(q, [*shape[:-1], shape[-2]])

    def step(inner: Builder, k: str, state: list[str]) -> list[str]:
        q, r = state
        zero = inner.scalar(0, like=a)
        column = inner.op("Gather", r, k, axis=rank - 1)
        head = inner.op("Gather", column, inner.unsqueeze(k, 0), axis=rank - 2)
        tail = inner.op("Where", inner.op("LessOrEqual", rows.numbers, k), zero, column)
        rest = _squares(inner, tail)
        norm = inner.op("Sqrt", inner.op("Add", inner.op("Mul", head, head), rest))
        pivot = inner.op("Where", inner.op("Less", head, zero), norm, inner.op("Neg", norm))
        first = inner.op("Sub", head, pivot)
        v = inner.op("Where", inner.op("Equal", rows.numbers, k), first, tail)
        v = inner.op("Where", inner.op("Equal", rest, zero), zero, v)  # nothing to reflect
        length = _squares(inner, v)
        length = inner.op("Where", inner.op("Equal", length, zero), inner.scalar(1, like=a), length)
        scaled = inner.unsqueeze(
            inner.op("Div", inner.op("Mul", v, inner.scalar(2, like=a)), length), rank - 2
        )
        tall = inner.unsqueeze(v, rank - 1)
        flat = inner.unsqueeze(v, rank - 2)
        turned = inner.op("Mul", inner.op("MatMul", q, tall), scaled)
        scaled_tall = inner.op("Transpose", scaled, perm=[*range(rank - 2), rank - 1, rank - 2])
        reflected = inner.op("Mul", scaled_tall, inner.op("MatMul", flat, r))
        return [inner.op("Sub", q, turned), inner.op("Sub", r, reflected)]

    q, r = build.loop(build.constant(kept), [q, a], step)
    if not node.get_attr_value("full_matrices", 0):
        end = build.constant([kept])
        q = build.op("Slice", q, build.constant([0]), end, build.constant([rank - 1]))
        r = build.op("Slice", r, build.constant([0]), end, build.constant([rank - 2]))
    below = build.op(
        "Greater",
        build.unsqueeze(_numbers(build, build.sizes(r, rank - 2, rank - 1)), 1),
        _numbers(build, build.sizes(r, rank - 1, rank)),
    )
    return [q, build.op("Where", below, build.scalar(0, like=a), r)]


class _Rows:
    """The rows of the matrices of a tensor: their number, and 0, 1, … up to it."""

    def __init__(self, build: Builder, node: Any, a: str, square: bool = True) -> None:
        shape = build.shape(a)
        if shape is None:
            raise UnsupportedLowering(node, "the rank of its matrices is only known at run time")
        self._build = build
        self.rank = len(shape)
        size = shape[-2] if shape[-2] > 0 or not square else shape[-1]
        if size > 0:
            self.count = build.constant(size)
            self.numbers = build.constant(range(size))
        else:
            self.count = build.squeeze(build.sizes(a, self.rank - 2, self.rank - 1), 0)
            self.numbers = build.op("Range", build.constant(0), self.count, build.constant(1))

    def diagonal(self) -> str:
        """Where a square matrix has its diagonal."""
        return self._compared("Equal")

    def triangle(self, *, lower: bool) -> str:
        """Where a square matrix has its lower or upper half, the diagonal among it."""
        return self._compared("GreaterOrEqual" if lower else "LessOrEqual")

    def _compared(self, comparison: str) -> str:
        tall = self._build.unsqueeze(self.numbers, 1)
        return self._build.op(comparison, tall, self.numbers)


def _solved(build: Builder, a: str, b: str, rows: _Rows) -> str:
    """Gauss-Jordan elimination of ``[a b]``, which leaves ``[1 x]``."""
    both = build.op("Concat", a, b, axis=-1)
    (done,) = build.loop(
        rows.count, [both], lambda inner, k, state: [_eliminate(inner, state[0], k, rows)[0]]
    )
    begin = build.unsqueeze(rows.count, 0)
    end = build.sizes(both, rows.rank - 1, rows.rank)
    return build.op("Slice", done, begin, end, build.constant([rows.rank - 1]))


def _eliminate(build: Builder, matrix: str, k: str, rows: _Rows) -> tuple[str, str, str]:
    """Column ``k`` to a unit vector: the matrix, the pivot (…), and whether rows were swapped.

    The pivot is the largest of the column that is left; its row and row ``k`` change places.
    """
    row, column = rows.rank - 2, rows.rank - 1
    below = build.op("Abs", build.op("Gather", matrix, k, axis=column))
    left = build.op("Less", rows.numbers, k)
    below = build.op("Where", left, build.scalar(-1, like=matrix), below)
    largest = build.op("ArgMax", below, axis=row, keepdims=1)
    there = build.unsqueeze(build.op("Equal", rows.numbers, largest), column)
    here = build.unsqueeze(build.op("Equal", rows.numbers, k), 1)
    own = build.unsqueeze(build.op("Gather", matrix, k, axis=row), row)
    best = build.op("Where", there, matrix, build.scalar(0, like=matrix))
    best = build.reduce("ReduceSum", best, [row], keepdims=True)
    pivot = build.op("Gather", best, build.unsqueeze(k, 0), axis=column)
    best = build.op("Div", best, pivot)
    swapped = build.op("Where", there, own, matrix)
    factors = build.op("Gather", swapped, build.unsqueeze(k, 0), axis=column)
    rest = build.op("Sub", swapped, build.op("Mul", factors, best))
    moved = build.op("Not", build.op("Equal", build.squeeze(largest, row), k))
    return (
        build.op("Where", here, best, rest),
        build.squeeze(pivot, row, column),
        moved,
    )


def _batched_alike(build: Builder, node: Any) -> tuple[str, str]:
    """Both inputs with the batch of the one of higher rank."""
    a, b = node.input
    first, second = build.shape(a), build.shape(b)
    if first is None or second is None:
        raise UnsupportedLowering(node, "the rank of its matrices is only known at run time")
    shapes = first, second
    ranks = len(first), len(second)
    if ranks[0] == ranks[1]:
        pairs = zip(shapes[0][:-2], shapes[1][:-2], strict=True)
        if any(one != other and 1 in (one, other) for one, other in pairs):
            raise UnsupportedLowering(node, "its matrices are not batched alike")
        return a, b
    few, many = (a, b) if ranks[0] < ranks[1] else (b, a)
    rank = min(ranks)
    batch = build.sizes(many, 0, max(ranks) - 2)
    shape = build.op("Concat", batch, build.sizes(few, rank - 2), axis=0)
    wide = build.op("Expand", few, shape)
    build.set_shape(wide, [*shapes[ranks.index(max(ranks))][:-2], *(build.shape(few) or [])[-2:]])
    return (wide, b) if few == a else (a, wide)


def _adjoint(build: Builder, node: Any, a: str) -> str:
    if not node.get_attr_value("adjoint", 0):
        return a
    rank = len(build.shape(a) or ())
    return build.op("Transpose", a, perm=[*range(rank - 2), rank - 1, rank - 2])


def _squares(build: Builder, x: str) -> str:
    """The sum of squares along the last axis, which stays."""
    return build.reduce("ReduceSum", build.op("Mul", x, x), [-1], keepdims=True)


def _numbers(build: Builder, count: str) -> str:
    return build.op("Range", build.constant(0), build.squeeze(count, 0), build.constant(1))
