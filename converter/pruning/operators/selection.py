"""Operators that put axes end to end or take parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.linear import embedding
from converter.pruning.operators.reshaping import set_ints
from converter.pruning.operators.rule import Axes, Edit, Kept, Recorder, Unknown, dims, present
from runtimes.onnx_graph.values import is_constant, small_ints


def concat(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Along the axis channels lie end to end; along the others they go together."""
    rank = len(dims(node.inputs[0]))
    along = node.attributes.get_int("axis", 0) % rank
    operands = range(len(node.inputs))
    axes = [record.input_axes(node, index) for index in operands]
    result: list[IntArray | None] = []
    for axis in range(rank):
        parts = [one[axis] for one in axes]
        if all(part is None for part in parts):
            result.append(None)
        elif axis == along:
            result.append(np.concatenate([_solid(node, record, i, axis) for i in operands]))
        else:
            result.append(_same(node, record, parts, axis))
    return [tuple(result)]


def _solid(node: ir.Node, record: Recorder, index: int, axis: int) -> IntArray:
    """The channels of an operand; where it has none, ones that have to stay."""
    channels = record.input_axes(node, index)[axis]
    if channels is not None:
        return channels
    size = dims(node.inputs[index])[axis]
    if not isinstance(size, int):
        raise Unknown("the size of an operand is not known")
    return record.channels.make_closed(size, str(node.name), "they are not made by a layer")


def _same(
    node: ir.Node, record: Recorder, parts: Sequence[IntArray | None], axis: int
) -> IntArray | None:
    first = next(part for part in parts if part is not None)
    for index, part in enumerate(parts):
        if part is not None:
            record.channels.unify(first, part)
        elif is_constant(node.inputs[index]):
            record.use(node, index, axis, first)
        else:
            record.close(node, first, f"its input {index} there has no channels to cut")
    return first


def split(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Each output gets a run of the channels along the axis."""
    axes = record.input_axes(node, 0)
    axis = node.attributes.get_int("axis", 0) % len(axes)
    channels = axes[axis]
    if channels is None:
        return [axes] * len(node.outputs)
    value = present(node, 1)
    sizes = small_ints(value) if value is not None else node.attributes.get_ints("split")
    if sizes is None and value is not None:
        raise Unknown("its sizes are not a constant")
    if sizes is None:
        size = -(-len(channels) // len(node.outputs))
        starts = range(0, len(channels), size)
        sizes = [min(size, len(channels) - start) for start in starts]
    parts = np.split(channels, np.cumsum(sizes)[:-1])
    record.edit(node, _set_sizes(parts, as_input=value is not None))
    return [(*axes[:axis], part, *axes[axis + 1 :]) for part in parts]


def _set_sizes(parts: Sequence[IntArray], *, as_input: bool) -> Edit:
    def set_sizes(node: ir.Node, kept: Kept) -> None:
        sizes = [kept.count(part) for part in parts]
        if as_input:
            set_ints(node, 1, sizes)
            return
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        if graph.opset_imports.get("", 0) < 13:
            node.attributes["split"] = ir.AttrInt64s("split", sizes)
            return
        node.attributes.pop("num_outputs", None)
        node.resize_inputs(2)
        name = f"{node.name}/split"
        value = ir.Value(
            name=name,
            type=ir.TensorType(ir.DataType.INT64),
            shape=ir.Shape([len(sizes)]),
            const_value=ir.tensor(np.array(sizes, np.int64), name=name),
        )
        graph.initializers[name] = value
        node.replace_input_with(1, value)

    return set_sizes


def slice_(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """A run of the channels along each axis, in steps of one."""
    axes = record.input_axes(node, 0)
    numbers = [small_ints(present(node, index)) for index in range(1, 5)]
    starts, ends, given, steps = numbers
    unknown = any(
        known is None and present(node, index) is not None
        for index, known in enumerate(numbers, start=1)
    )
    if starts is None or ends is None or unknown:
        raise Unknown("its bounds are not constants")
    given = given if given is not None else tuple(range(len(starts)))
    steps = steps if steps is not None else (1,) * len(starts)
    result = list(axes)
    cuts: list[tuple[int, IntArray, IntArray]] = []
    for place, (start, end, axis, step) in enumerate(zip(starts, ends, given, steps, strict=True)):
        channels = axes[axis % len(axes)]
        if channels is None:
            continue
        if step != 1:
            record.close(node, channels, f"it takes them in steps of {step}")
            result[axis % len(axes)] = None
            continue
        first, last, _ = slice(start, end).indices(len(channels))
        part = channels[first : max(first, last)]
        cuts.append((place, channels[:first], part))
        result[axis % len(axes)] = part
    if cuts:
        record.edit(node, _set_bounds(starts, ends, cuts))
    return [tuple(result)]


def _set_bounds(
    starts: Sequence[int], ends: Sequence[int], cuts: Sequence[tuple[int, IntArray, IntArray]]
) -> Edit:
    def set_bounds(node: ir.Node, kept: Kept) -> None:
        new_starts, new_ends = list(starts), list(ends)
        for place, before, part in cuts:
            new_starts[place] = kept.count(before)
            new_ends[place] = new_starts[place] + kept.count(part)
        set_ints(node, 1, new_starts)
        set_ints(node, 2, new_ends)

    return set_bounds


def gather(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Rows of a table are an embedding; channels picked by a constant are renumbered."""
    if is_constant(node.inputs[0]):
        return embedding(node, record)
    axes, indices = record.input_axes(node, 0), record.input_axes(node, 1)
    axis = node.attributes.get_int("axis", 0) % len(axes)
    channels = axes[axis]
    picked: Sequence[IntArray | None] = indices
    if channels is not None:
        wanted = small_ints(node.inputs[1], limit=1 << 20)
        if wanted is None or len(indices) != 1:
            record.close(node, channels, "it picks single ones")
        else:
            places = np.array(wanted, np.int64) % len(channels)
            picked = (channels[places],)
            record.edit(node, _renumber(channels, places))
    return [(*axes[:axis], *picked, *axes[axis + 1 :])]


def _renumber(channels: IntArray, places: IntArray) -> Edit:
    def renumber(node: ir.Node, kept: Kept) -> None:
        mask = kept.mask(channels)
        new_place = np.cumsum(mask) - 1
        set_ints(node, 1, [int(new_place[place]) for place in places if mask[place]])

    return renumber


def pad(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Padding along a channel axis adds channels that have to stay."""
    axes = record.input_axes(node, 0)
    pads, given = small_ints(present(node, 1)), small_ints(present(node, 3))
    if pads is None or (given is None and present(node, 3) is not None):
        raise Unknown("its pads are not a constant")
    where = [axis % len(axes) for axis in given] if given is not None else range(len(axes))
    result = list(axes)
    for place, axis in enumerate(where):
        channels = axes[axis]
        before, after = pads[place], pads[place + len(pads) // 2]
        if channels is None or before == after == 0:
            continue
        if min(before, after) < 0 or node.attributes.get_string("mode", "constant") != "constant":
            record.close(node, channels, "it pads along them")
            continue
        made = [
            record.channels.make_closed(count, str(node.name), "they are padding")
            for count in (before, after)
        ]
        result[axis] = np.concatenate([made[0], channels, made[1]])
    return [tuple(result)]


def tile(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Channels along a repeated axis are there several times."""
    axes = record.input_axes(node, 0)
    repeats = small_ints(present(node, 1))
    if repeats is None or len(repeats) != len(axes):
        for channels in axes:
            record.close(node, channels, "its repeats are computed at run time")
        return [(None,) * len(axes)]
    return [
        tuple(
            None if one is None else np.tile(one, n) for one, n in zip(axes, repeats, strict=True)
        )
    ]


def expand(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Axes of one element grow; where channels lie, the target follows them."""
    axes = record.input_axes(node, 0)
    source, target = dims(node.inputs[0]), small_ints(node.inputs[1])
    if target is None:
        # The target may be the shape of something else, so it cannot be told what it asks for.
        if any(channels is not None for channels in axes):
            raise Unknown("its target is computed at run time")
        return [(None,) * len(dims(node.outputs[0]))]
    rank = max(len(source), len(target))
    result: list[IntArray | None] = [*[None] * (rank - len(axes)), *axes]
    follows: list[tuple[int, IntArray]] = []
    for axis, channels in enumerate(result):
        place = axis - (rank - len(target))
        if channels is None or place < 0 or target[place] == 1:
            continue
        if len(channels) == 1:
            record.close(node, channels, "it is repeated along an axis")
            result[axis] = None
        else:
            follows.append((place, channels))

    def set_target(node: ir.Node, kept: Kept) -> None:
        new = list(target)
        for place, channels in follows:
            new[place] = kept.count(channels)
        set_ints(node, 1, new)

    if follows:
        record.edit(node, set_target)
    return [tuple(result)]


_CROPS = "tf_crop_and_resize"


def resize(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Resizing over space; sizes that name the number of channels follow it."""
    axes = record.input_axes(node, 0)
    rank = len(axes)
    if node.attributes.get_string("coordinate_transformation_mode", "") == _CROPS:
        raise Unknown("it crops before it resizes")
    given = node.attributes.get_ints("axes")
    where = [axis % rank for axis in given] if given is not None else list(range(rank))
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    result: list[IntArray | None] = []
    for axis, channels in enumerate(axes):
        if channels is not None and before[axis] != after[axis]:
            record.close(node, channels, "it resizes them")
        result.append(None if before[axis] != after[axis] else channels)
    sizes = present(node, 3)
    if sizes is not None:
        numbers = small_ints(sizes)
        if numbers is None:
            if any(result[axis] is not None for axis in where):
                raise Unknown("its sizes are computed at run time")
        else:
            record.edit(node, _set_resized(numbers, [result[axis] for axis in where]))
    return [tuple(result)]


def _set_resized(numbers: Sequence[int], along: Sequence[IntArray | None]) -> Edit:
    def set_resized(node: ir.Node, kept: Kept) -> None:
        sizes = [
            number if channels is None else kept.count(channels)
            for number, channels in zip(numbers, along, strict=True)
        ]
        set_ints(node, 3, sizes)

    return set_resized


def shape(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """The shape may be asked for, as long as nobody looks at the number of channels."""
    axes = record.input_axes(node, 0)
    rank = len(axes)
    start = slice(node.attributes.get_int("start", 0), node.attributes.get_int("end", None))
    seen = list(range(rank))[start]
    for place, axis in enumerate(seen):
        if axes[axis] is not None and _is_looked_at(node, place, len(seen)):
            record.close(node, axes[axis], "how many there are is used at run time")
    return [(None,)]


def _is_looked_at(node: ir.Node, place: int, count: int) -> bool:
    """Whether some user of a Shape of ``count`` elements may see its element ``place``."""
    output = node.outputs[0]
    if output.is_graph_output():
        return True
    for use in output.uses():
        picked = small_ints(present(use.node, 1))
        if use.idx == 0 and use.node.op_type == "Gather" and picked is not None:
            if place in [number % count for number in picked]:
                return True
        elif use.idx == 0 and use.node.op_type == "Slice" and picked is not None:
            ends, steps = small_ints(use.node.inputs[2]), present(use.node, 4)
            if steps is not None and small_ints(steps) != (1,):
                return True
            if ends is None or place in range(*slice(picked[0], ends[0]).indices(count)):
                return True
        else:
            return True
    return False
