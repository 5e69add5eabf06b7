"""On which grid the codes in an initializer are, as all who read them say.

DequantizeLinear reads codes by a scale and a zero point, at once, behind a Transpose, or behind the
lookup of an embedding; ONNX Runtime's LSTM of bytes has both among its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from quantizers.training.operators.dynamic_lstm import SCALES
from runtimes.base import Array
from runtimes.onnx_graph.values import constant

Shape = tuple[int, ...]


@dataclass(frozen=True)
class CodeGrid:
    """Scale and zero point, each in a shape that broadcasts to the codes."""

    scale: Array
    zero_point: Array

    def same_as(self, other: CodeGrid) -> bool:
        """Whether the two stand for the same floats."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(
            self.zero_point, other.zero_point
        )

    def transposed(self, order: list[int]) -> CodeGrid:
        """For codes whose axes were put in that ``order``."""
        if not self.scale.ndim and not self.zero_point.ndim:
            return self
        arrays = (self.scale, self.zero_point)
        return CodeGrid(*(a.transpose(order) if a.ndim else a for a in arrays))


_UNREADABLE = None
# Who reads the codes as numbers leaves to the others what they stand for.
_AS_NUMBERS = CodeGrid(np.zeros(0), np.zeros(0))


def grid_of(value: ir.Value) -> CodeGrid | None:
    """The grid of the codes that ``value`` holds, or None: no one knows, or two disagree."""
    if value.const_value is None:
        return None
    found = list(_grids(value, tuple(value.const_value.numpy().shape)))
    if any(grid is _UNREADABLE for grid in found):
        return None
    known = [grid for grid in found if grid is not None and grid is not _AS_NUMBERS]
    if not known or not all(grid.same_as(known[0]) for grid in known[1:]):
        return None
    return known[0]


def _grids(value: ir.Value, shape: Shape) -> Iterator[CodeGrid | None]:
    """What each reader of ``value``, codes of that shape, says."""
    for node, place in value.uses():
        if node.op_type == "DequantizeLinear" and place == 0:
            yield _of_dequantize(node, shape)
        elif node.op_type == "Transpose":
            order = list(node.attributes.get_ints("perm") or range(len(shape))[::-1])
            back = [int(axis) for axis in np.argsort(order)]
            for grid in _grids(node.outputs[0], tuple(shape[axis] for axis in order)):
                yield grid.transposed(back) if grid is not None and grid.scale.size else grid
        elif node.op_type == "Gather" and place == 0:
            yield from _of_lookup(node, shape)
        elif node.op_type == "DynamicQuantizeLSTM" and place in SCALES:
            yield _of_lstm(node, place)
        else:
            yield _UNREADABLE


def _of_lookup(node: ir.Node, shape: Shape) -> Iterator[CodeGrid | None]:
    """Rows of a table [rows, columns] keep one scale, or one for each column."""
    if node.attributes.get_int("axis", 0) != 0 or len(shape) != 2:
        yield _UNREADABLE
        return
    for reader, place in node.outputs[0].uses():
        if reader.op_type == "Cast":
            yield _AS_NUMBERS
        elif reader.op_type != "DequantizeLinear" or place:
            yield _UNREADABLE
        else:
            yield _by_columns(reader, shape)


def _by_columns(node: ir.Node, shape: Shape) -> CodeGrid | None:
    scale = constant(node.inputs[1])
    indices = node.inputs[0]
    if scale is None or indices is None:
        return _UNREADABLE
    rank = None if indices.shape is None else len(indices.shape)
    axis = node.attributes.get_int("axis", 1)
    if scale.size > 1 and axis != -1 and axis + 1 != rank:
        return _UNREADABLE
    return _of_dequantize(node, shape, axis=1)


def _of_dequantize(node: ir.Node, shape: Shape, axis: int | None = None) -> CodeGrid | None:
    block = node.attributes.get_int("block_size", 0)
    axis = node.attributes.get_int("axis", 1) if axis is None else axis
    given = node.inputs[2] if len(node.inputs) > 2 else None
    scale, zero = constant(node.inputs[1]), constant(given)
    if scale is None or (given is not None and zero is None):
        return _UNREADABLE
    return CodeGrid(
        _spread(scale, shape, axis, block),
        np.zeros(()) if zero is None else _spread(zero, shape, axis, block),
    )


def _spread(array: Array, shape: Shape, axis: int, block: int) -> Array:
    wide = array.astype(np.float64)
    if block:
        return np.repeat(wide, block, axis)[tuple(slice(0, size) for size in shape)]
    if wide.size == 1:
        return wide.reshape(())
    sizes = [1] * len(shape)
    sizes[axis] = wide.size
    return wide.reshape(sizes)


def _of_lstm(node: ir.Node, place: int) -> CodeGrid | None:
    """Codes [directions, inputs, 4 * H] by one scale a direction, or one a column."""
    scale, zero = (constant(node.inputs[SCALES[place] + more]) for more in (0, 1))
    if scale is None or zero is None:
        return _UNREADABLE
    spread = [array.astype(np.float64).reshape(len(array), 1, -1) for array in (scale, zero)]
    return CodeGrid(*spread)
