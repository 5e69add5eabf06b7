"""Diagonals: putting one into matrices, taking them out, and tensors with nothing beside theirs.

A band is the diagonals between two offsets, the highest first, [..., diagonals, length]; shorter
ones are padded, on the side that ``align`` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering


def set_diagonal(build: Builder, node: Any) -> Sequence[str]:
    """MatrixSetDiag, V2 and V3, of one diagonal or of a band."""
    matrix, diagonal, *offsets = node.input
    sizes = _matrix_sizes(build, matrix)
    low, high = _offsets(node, 2) if offsets else (0, 0)
    return [_with_band(build, node, diagonal, (low, high), sizes, matrix)]


def matrix_diagonal(build: Builder, node: Any) -> Sequence[str]:
    """MatrixDiag, V2 and V3: diagonals as those of a matrix, square unless it is said."""
    diagonal, *rest = node.input
    if not rest:
        count = _count(build, diagonal)
        return [_with_diagonal(build, diagonal, 0, (count, count), build.scalar(0, like=diagonal))]
    (low, high), *sizes = _offsets(node, 1), _number(node, 2), _number(node, 3)
    given = any(size >= 0 for size in sizes)
    # The smallest matrix that has the longest diagonal: rows above it or columns before it.
    beside = (max(-high, 0), max(low, 0)) if given else (max(-high, low, 0),) * 2
    count = _count(build, diagonal)
    rows, columns = (
        build.constant(size) if size >= 0 else build.op("Add", count, build.constant(more))
        for size, more in zip(sizes, beside, strict=True)
    )
    return [_with_band(build, node, diagonal, (low, high), (rows, columns), rest[3])]


def diagonal_part(build: Builder, node: Any) -> Any:
    """MatrixDiagPart, V2 and V3, of a band; a single diagonal is tf2onnx's."""
    matrix, _, padding = node.input
    low, high = _offsets(node, 1)
    if low == high:
        return NotImplemented
    rows, columns = _matrix_sizes(build, matrix)
    lengths = {k: _length(build, k, (rows, columns)) for k in range(low, high + 1)}
    longest = _largest(build, lengths.values())
    place = build.op("Range", build.constant(0), longest, build.constant(1))
    flat = build.op(
        "Reshape",
        matrix,
        build.op("Concat", build.sizes(matrix, 0, -2), build.constant([-1]), axis=0),
    )
    found = []
    for k in range(high, low - 1, -1):
        along = place
        if _ends_right(node, k):
            along = build.op("Sub", place, build.op("Sub", longest, lengths[k]))
        inside = build.op(
            "And",
            build.op("GreaterOrEqual", along, build.constant(0)),
            build.op("Less", along, lengths[k]),
        )
        row = build.op("Add", along, build.constant(max(-k, 0)))
        column = build.op("Add", along, build.constant(max(k, 0)))
        index = build.op("Add", build.op("Mul", row, columns), column)
        index = build.op("Where", inside, index, build.constant(0))
        values = build.op("Gather", flat, index, axis=-1)
        found.append(build.unsqueeze(build.op("Where", inside, values, padding), -2))
    return [build.op("Concat", *found, axis=-2)]


def _with_band(  # noqa: PLR0917
    build: Builder,
    node: Any,
    diagonals: str,
    offsets: tuple[int, int],
    sizes: tuple[str, str],
    others: str,
) -> str:
    low, high = offsets
    if low == high:
        return _with_diagonal(build, diagonals, low, sizes, others)
    longest = _count(build, diagonals)
    for number, offset in enumerate(range(high, low - 1, -1)):
        diagonal = build.op("Gather", diagonals, build.constant(number), axis=-2)
        skipped = ""
        if _ends_right(node, offset):
            skipped = build.op("Sub", longest, _length(build, offset, sizes))
        others = _with_diagonal(build, diagonal, offset, sizes, others, skipped)
    return others


def _with_diagonal(  # noqa: PLR0917
    build: Builder,
    diagonal: str,
    offset: int,
    sizes: tuple[str, str],
    others: str,
    skipped: str = "",
) -> str:
    """A matrix of ``others`` with a diagonal, of which the first ``skipped`` values are padding."""
    row, column = (build.op("Range", build.constant(0), size, build.constant(1)) for size in sizes)
    on_it = build.op(
        "Equal", build.op("Sub", column, build.unsqueeze(row, 1)), build.constant(offset)
    )
    # A diagonal above the main one is counted by rows, one below by columns.
    last = build.op("Sub", _count(build, diagonal), build.constant(1))
    place = row if offset >= 0 else column
    place = build.op("Min", build.op("Add", place, skipped) if skipped else place, last)
    values = build.op("Gather", diagonal, place, axis=-1)
    values = build.unsqueeze(values, -1 if offset >= 0 else -2)
    return build.op("Where", on_it, values, others)


def _ends_right(node: Any, offset: int) -> bool:
    """Whether a padded diagonal has its padding first."""
    usual = b"RIGHT_LEFT" if node.type.endswith("V3") else b"LEFT_LEFT"
    align = node.get_attr_value("align", usual)
    above, below = (align.decode() if isinstance(align, bytes) else str(align)).split("_")
    return (above if offset >= 0 else below) == "RIGHT"


def _length(build: Builder, offset: int, sizes: tuple[str, str]) -> str:
    """How long a diagonal of a matrix is."""
    rows, columns = sizes
    if offset > 0:
        columns = build.op("Sub", columns, build.constant(offset))
    elif offset < 0:
        rows = build.op("Sub", rows, build.constant(-offset))
    return build.op("Min", rows, columns)


def _largest(build: Builder, numbers: Iterable[str]) -> str:
    return build.op("Max", *numbers)


def _matrix_sizes(build: Builder, matrix: str) -> tuple[str, str]:
    shape = build.op("Shape", matrix)
    rows, columns = (build.op("Gather", shape, build.constant(axis), axis=0) for axis in (-2, -1))
    return rows, columns


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


def _offsets(node: Any, index: int) -> tuple[int, int]:
    source = node.inputs[index]
    values = source.get_tensor_value(as_list=False).reshape(-1) if source.is_const() else []
    if not len(values):
        raise UnsupportedLowering(node, "which diagonals it means is only known at run time")
    return int(values[0]), int(values[-1])


def _number(node: Any, index: int) -> int:
    source = node.inputs[index]
    if not source.is_const():
        raise UnsupportedLowering(node, "the size of its matrix is only known at run time")
    return int(source.get_tensor_value(as_list=False))
