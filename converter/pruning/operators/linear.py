"""Operators that sum products over channels: they read the old ones and make new ones.

https://onnx.ai/onnx/operators/ (Conv, ConvTranspose, Gemm, MatMul, Gather)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.elementwise import broadcast_axes
from converter.pruning.operators.rule import (
    Axes,
    Kept,
    Recorder,
    Unknown,
    constant_shape,
    dims,
    present,
)
from runtimes.onnx_graph.values import is_constant


def conv(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Conv, weight ``[outputs, inputs / groups, kernel…]``: dense, depthwise and grouped."""
    shape = _weight_shape(node)
    axes = record.input_axes(node, 0)
    record.close_positions(node, axes, 1)
    inputs, groups = axes[1], node.attributes.get_int("group", 1)
    if groups == 1:
        if inputs is not None:
            record.use(node, 1, 1, inputs, reads=True)
        outputs = record.make(node, shape[0])
    elif inputs is None:
        # Every group has to lose as many outputs, whatever it reads.
        outputs = np.tile(record.make(node, shape[0] // groups), groups)
    elif groups >= shape[1]:
        outputs = _whole_groups(node, record, inputs, groups, shape[0] // groups)
    else:
        outputs = _places_in_groups(node, record, inputs, groups, shape[0] // groups)
    record.use(node, 1, 0, outputs)
    _bias(node, record, 2, outputs)
    return [(None, outputs, *[None] * (len(axes) - 2))]


def conv_transpose(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """ConvTranspose, weight ``[inputs, outputs / groups, kernel…]``."""
    shape = _weight_shape(node)
    axes = record.input_axes(node, 0)
    record.close_positions(node, axes, 1)
    inputs, groups = axes[1], node.attributes.get_int("group", 1)
    outputs: IntArray | None
    if groups == 1:
        if inputs is not None:
            record.use(node, 1, 0, inputs, reads=True)
        outputs = record.make(node, shape[1])
        record.use(node, 1, 1, outputs)
    elif inputs is None:
        outputs = np.tile(record.make(node, shape[1]), groups)
        record.use(node, 1, 1, outputs[: shape[1]])
    else:
        outputs = _whole_groups(node, record, inputs, groups, shape[1])
        record.use(node, 1, 0, inputs)
    _bias(node, record, 2, outputs)
    return [(None, outputs, *[None] * (len(axes) - 2))]


def _whole_groups(
    node: ir.Node, record: Recorder, inputs: IntArray, groups: int, outputs: int
) -> IntArray:
    """Inputs and outputs of a group go together; depthwise is the case of one input a group."""
    by_group = inputs.reshape(groups, -1)
    record.channels.unify(by_group[:, :1], by_group)
    one_each = by_group[:, 0]

    def set_groups(node: ir.Node, kept: Kept) -> None:
        node.attributes["group"] = ir.AttrInt64("group", kept.count(one_each))

    record.edit(node, set_groups)
    return np.repeat(one_each, outputs)


def _places_in_groups(
    node: ir.Node, record: Recorder, inputs: IntArray, groups: int, outputs: int
) -> IntArray:
    """A few large groups: the channels at one place of all groups go together."""
    by_group = inputs.reshape(groups, -1)
    record.channels.unify(by_group[:1], by_group)
    record.use(node, 1, 1, by_group[0], reads=True)
    return np.tile(record.make(node, outputs), groups)


def _weight_shape(node: ir.Node) -> tuple[int, ...]:
    shape = constant_shape(node.inputs[1])
    if shape is None:
        raise Unknown("its weight is not a constant")
    return shape


def _bias(node: ir.Node, record: Recorder, index: int, outputs: IntArray) -> None:
    bias = present(node, index)
    if bias is None:
        return
    if not is_constant(bias):
        raise Unknown("its bias is not a constant")
    shape = dims(bias)
    if shape and shape[-1] != 1:
        record.use(node, index, len(shape) - 1, outputs)


def gemm(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Gemm: MatMul of two matrices, either of them transposed, and a bias."""
    left, right = _matrix(node, record, 0, "transA"), _matrix(node, record, 1, "transB")
    rows, columns = _product(node, record, left, right)
    bias = present(node, 2)
    if bias is not None:
        shape = dims(bias)
        for channels, behind in ((columns, 1), (rows, 2)):
            if channels is not None and len(shape) >= behind and shape[-behind] != 1:
                if not is_constant(bias):
                    raise Unknown("its bias is not a constant")
                record.use(node, 2, len(shape) - behind, channels)
    return [(rows, columns)]


def matmul(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """MatMul of data by a weight, a weight by data, or data by data (attention)."""
    ranks = [len(dims(value)) for value in node.inputs]
    if min(ranks) < 2:
        return _by_vector(node, record, ranks)
    left = _Operand(0, ranks[0] - 2, ranks[0] - 1, record.input_axes(node, 0))
    right = _Operand(1, ranks[1] - 1, ranks[1] - 2, record.input_axes(node, 1))
    rows, columns = _product(node, record, left, right)
    return [(*broadcast_axes(node, record, [0, 1], skip_last=2), rows, columns)]


def _by_vector(node: ir.Node, record: Recorder, ranks: list[int]) -> Sequence[Axes]:
    """One operand is a vector: its axis is summed over and gone."""
    operands = []
    for index, rank in enumerate(ranks):
        summed = rank - 1 if index == 0 or rank == 1 else rank - 2
        operands.append(_Operand(index, None, summed, record.input_axes(node, index)))
    _sum_over(node, record, *operands)
    left, right = operands
    free = [one for axis, one in enumerate(left.axes) if axis != left.summed]
    free += [one for axis, one in enumerate(right.axes) if axis != right.summed]
    return [tuple(free)]


class _Operand:
    """A matrix operand: its input, its own (free) axis and the axis that is summed over."""

    def __init__(self, index: int, free: int | None, summed: int, axes: Axes) -> None:
        self.index, self.free, self.summed, self.axes = index, free, summed, axes


def _matrix(node: ir.Node, record: Recorder, index: int, transposed: str) -> _Operand:
    free, summed = (0, 1) if index == 0 else (1, 0)
    if node.attributes.get_int(transposed, 0):
        free, summed = summed, free
    return _Operand(index, free, summed, record.input_axes(node, index))


def _product(
    node: ir.Node, record: Recorder, left: _Operand, right: _Operand
) -> tuple[IntArray | None, IntArray | None]:
    """Tie what is summed over and give the channels of the two free axes.

    The free axis of a constant operand is one of new channels.
    """
    _sum_over(node, record, left, right)
    free: list[IntArray | None] = []
    for operand in (left, right):
        assert operand.free is not None
        shape = constant_shape(node.inputs[operand.index])
        if shape is None:
            free.append(operand.axes[operand.free])
            continue
        made = record.make(node, shape[operand.free])
        record.use(node, operand.index, operand.free, made)
        free.append(made)
    return free[0], free[1]


def _sum_over(node: ir.Node, record: Recorder, left: _Operand, right: _Operand) -> None:
    for data, other in ((left, right), (right, left)):
        channels, partner = data.axes[data.summed], other.axes[other.summed]
        if channels is None:
            continue
        if constant_shape(node.inputs[other.index]) is not None:
            record.use(node, other.index, other.summed, channels, reads=True)
        elif partner is None:
            record.close(node, channels, "the other operand there has no channels to cut")
        else:
            record.channels.unify(channels, partner)
            record.use(node, data.index, data.summed, channels, reads=True)


def embedding(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Gather of rows of a constant table: the width of the table is made of new channels."""
    table = constant_shape(node.inputs[0])
    assert table is not None
    indices = record.input_axes(node, 1)
    axis = node.attributes.get_int("axis", 0) % len(table)
    if len(table) != 2 or axis != 0:
        return [(*[None] * axis, *indices, *[None] * (len(table) - 1 - axis))]
    made = record.make(node, table[1])
    record.use(node, 0, 1, made)
    return [(*indices, made)]
