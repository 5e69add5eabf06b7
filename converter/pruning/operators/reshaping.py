"""Operators that give elements another place: Transpose, Reshape and what is like them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.rule import (
    Axes,
    Edit,
    Kept,
    Recorder,
    Split,
    Unknown,
    dims,
    present,
)
from runtimes.onnx_graph.values import add_initializer, drop_if_unused, small_ints

Dim = int | str | None
Block = tuple[range, range]


def transpose(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Axes change places."""
    axes = record.input_axes(node, 0)
    order = node.attributes.get_ints("perm", range(len(axes))[::-1])
    return [tuple(axes[axis] for axis in order)]


def squeeze(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Axes of one element go away."""
    axes = record.input_axes(node, 0)
    gone = _given_axes(node, len(axes))
    if gone is None:
        gone = [axis for axis, dim in enumerate(dims(node.inputs[0])) if dim == 1]
    for axis in gone:
        record.close(node, axes[axis], "it drops their axis")
    return [tuple(one for axis, one in enumerate(axes) if axis not in gone)]


def unsqueeze(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Axes of one element appear."""
    axes = record.input_axes(node, 0)
    count = _given_count(node)
    new = _given_axes(node, len(axes) + count)
    old = iter(axes)
    return [tuple(None if axis in (new or ()) else next(old) for axis in range(len(axes) + count))]


def _given_count(node: ir.Node) -> int:
    value = present(node, 1)
    axes = small_ints(value) if value is not None else node.attributes.get_ints("axes")
    if axes is None:
        raise Unknown("its axes are not a constant")
    return len(axes)


def _given_axes(node: ir.Node, rank: int) -> list[int] | None:
    value = present(node, 1)
    axes = small_ints(value) if value is not None else node.attributes.get_ints("axes")
    if value is not None and axes is None:
        raise Unknown("its axes are not a constant")
    return None if axes is None else [axis % rank for axis in axes]


def reshape(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Axes are merged or split; channels follow where the shapes leave no doubt.

    Merged with others, a channel lies at many places of the new axis. Split in two, one of the
    new axes carries the channels on, and those of each slice along it go together: by the outer
    one attention heads, by the last one the channels of an image that a dense layer draws.
    """
    axes = record.input_axes(node, 0)
    source, target = list(dims(node.inputs[0])), list(dims(node.outputs[0]))
    numbers = small_ints(present(node, 1))
    if numbers is None and any(channels is not None for channels in axes):
        raise Unknown("its target is computed at run time")
    if numbers is not None and not node.attributes.get_int("allowzero", 0):
        for axis, number in enumerate(numbers):
            if number == 0:
                target[axis] = source[axis] = source[axis] or f"axis {axis}"
    result = move(node, record, axes, source, target)
    if numbers is not None:
        record.edit(node, _set_target(numbers, result))
    return [result]


def _set_target(numbers: Sequence[int], result: Axes) -> Edit:
    def set_target(node: ir.Node, kept: Kept) -> None:
        target = [
            number if channels is None or number < 0 else kept.count(channels)
            for number, channels in zip(numbers, result, strict=True)
        ]
        set_ints(node, 1, target)

    return set_target


def flatten(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Axes before and after ``axis`` are merged."""
    axes = record.input_axes(node, 0)
    axis = node.attributes.get_int("axis", 1)
    axis = axis % len(axes) if axis < len(axes) else axis
    blocks = [(range(axis), range(1)), (range(axis, len(axes)), range(1, 2))]
    source = list(dims(node.inputs[0]))
    result: list[IntArray | None] = [None, None]
    for inputs, outputs in blocks:
        sizes = [source[i] for i in inputs]
        found = _through_block(node, record, [axes[i] for i in inputs], sizes, [None])
        result[outputs.start] = found[0]
    return [tuple(result)]


def depth_to_space(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Channels become blocks of pixels: those that end in one output channel go together."""
    axes = record.input_axes(node, 0)
    record.close_positions(node, axes, 1)
    if axes[1] is None:
        return [(None,) * 4]
    block = node.attributes.get_int("blocksize", 1) ** 2
    last = node.attributes.get_string("mode", "DCR") == "DCR"
    together = axes[1].reshape(block, -1).T if last else axes[1].reshape(-1, block)
    record.channels.unify(together[:, :1], together)
    return [(None, together[:, 0], None, None)]


def space_to_depth(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Blocks of pixels become channels: each input channel is there once a pixel."""
    axes = record.input_axes(node, 0)
    record.close_positions(node, axes, 1)
    block = node.attributes.get_int("blocksize", 1) ** 2
    return [(None, None if axes[1] is None else np.tile(axes[1], block), None, None)]


def move(
    node: ir.Node, record: Recorder, axes: Axes, source: Sequence[Dim], target: Sequence[Dim]
) -> Axes:
    """Axes of the result of a reshape of ``source`` to ``target``."""
    result: list[IntArray | None] = [None] * len(target)
    blocks, rest = reshape_blocks(source, target)
    for inputs, outputs in blocks:
        sizes, wanted = [source[i] for i in inputs], [target[j] for j in outputs]
        found = _through_block(node, record, [axes[i] for i in inputs], sizes, wanted)
        result[outputs.start : outputs.stop] = found
    for axis in rest[0]:
        record.close(node, axes[axis], "where they go is not known: dimensions are dynamic")
    return tuple(result)


def _through_block(
    node: ir.Node,
    record: Recorder,
    axes: Sequence[IntArray | None],
    sizes: Sequence[Dim],
    wanted: Sequence[Dim],
) -> list[IntArray | None]:
    """Channels along the output axes of a block, from those along its input axes.

    ``sizes`` and ``wanted`` are the dimensions on either side, which have the same product; a
    single wanted dimension need not be given.
    """
    nothing: list[IntArray | None] = [None] * len(wanted)
    carriers = [axis for axis, channels in enumerate(axes) if channels is not None]
    if not carriers:
        return nothing
    if len(axes) == len(wanted) == 1:
        return list(axes)
    known = [size for size in sizes if isinstance(size, int)]
    outputs = [size for size in wanted if isinstance(size, int)] or [math.prod(known)]
    if len(carriers) > 1 or len(known) != len(sizes):
        for axis in carriers:
            record.close(node, axes[axis], "it mixes them with other axes")
        return nothing
    channels = axes[carriers[0]]
    assert channels is not None
    lying = channels.reshape([-1 if axis == carriers[0] else 1 for axis in range(len(sizes))])
    elements = np.broadcast_to(lying, known).reshape(outputs)
    axis, carried = _carrier(node, record, elements)
    nothing[axis] = carried
    return nothing


def _carrier(node: ir.Node, record: Recorder, elements: IntArray) -> tuple[int, IntArray]:
    """The axis of ``elements`` that carries the channels on, and the channels along it.

    The one along which each slice is one channel, if there is one; else the one that is chosen
    for this split, of all that are longer than one: the first of them, the last, the others.
    """
    along = [np.moveaxis(elements, a, 0).reshape(n, -1) for a, n in enumerate(elements.shape)]
    for axis, slices in enumerate(along):
        if np.all(slices == slices[:, :1]):
            return axis, slices[:, 0]
    first, *others = [axis for axis, size in enumerate(elements.shape) if size != 1]
    candidates = [first, *others[-1:], *others[:-1]]
    key = f"{node.name}/{len(record.splits)}"
    axis = candidates[record.choices.get(key, 0) % len(candidates)]
    slices = along[axis]
    record.channels.unify(slices[:, :1], slices)
    record.splits[key] = Split(len(candidates), slices[:, 0])
    return axis, slices[:, 0]


def reshape_blocks(
    source: Sequence[Dim], target: Sequence[Dim]
) -> tuple[list[Block], tuple[range, range]]:
    """Cut both shapes into the smallest blocks of equal products, from either end.

    A dynamic dimension is a block of its own where the other shape has the same one. Returns
    the blocks and the axes in between, of which nothing is known.
    """
    blocks: list[Block] = []
    i = j = 0
    while (step := _next_block(source[i:], target[j:])) is not None:
        blocks.append((range(i, i + step[0]), range(j, j + step[1])))
        i, j = i + step[0], j + step[1]
    last_i, last_j = len(source), len(target)
    while (step := _next_block(source[i:last_i][::-1], target[j:last_j][::-1])) is not None:
        blocks.append((range(last_i - step[0], last_i), range(last_j - step[1], last_j)))
        last_i, last_j = last_i - step[0], last_j - step[1]
    return blocks, (range(i, last_i), range(j, last_j))


def _next_block(source: Sequence[Dim], target: Sequence[Dim]) -> tuple[int, int] | None:
    """How many leading dimensions of each have the same product, ``None`` where unknown."""
    if not source or not target:
        return None
    if not isinstance(source[0], int) or not isinstance(target[0], int):
        same = source[0] is not None and source[0] == target[0]
        return (1, 1) if same else None
    i = j = 1
    left, right = source[0], target[0]
    while left != right:
        shorter, at = (source, i) if left < right else (target, j)
        if at >= len(shorter):
            return None
        dim = shorter[at]
        if not isinstance(dim, int):
            return None
        if left < right:
            left, i = left * dim, i + 1
        else:
            right, j = right * dim, j + 1
    return i, j


def set_ints(node: ir.Node, index: int, numbers: Sequence[int]) -> None:
    """Give ``node`` a new integer constant as its input ``index``, if the numbers are new."""
    old, graph = node.inputs[index], node.graph
    assert old is not None
    assert isinstance(graph, ir.Graph)
    have = small_ints(old)
    if have == tuple(numbers):
        return
    scalar = old.const_value is not None and len(old.const_value.shape) == 0
    array = np.array(numbers, np.int64).reshape(() if scalar else (-1,))
    if old.dtype == ir.DataType.INT32:
        array = array.astype(np.int32)
    node.replace_input_with(index, None)
    drop_if_unused([old])
    node.replace_input_with(index, add_initializer(graph, old.name or f"{node.name}/ints", array))
