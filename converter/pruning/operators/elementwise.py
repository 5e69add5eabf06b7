"""Operators that work on each element: channels go through, and operands' channels are tied.

https://onnx.ai/onnx/repo-docs/Broadcasting.html
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.rule import Axes, Recorder, Unknown, dims, present
from runtimes.onnx_graph.values import is_constant


def broadcast(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Operands of one shape, or such that broadcast: equal places along an axis go together."""
    operands = [index for index, value in enumerate(node.inputs) if value is not None]
    return [broadcast_axes(node, record, operands)] * len(node.outputs)


def broadcast_axes(
    node: ir.Node, record: Recorder, operands: Sequence[int], skip_last: int = 0
) -> Axes:
    """Axes of the broadcast operands without their last ``skip_last`` axes."""
    ranks = {index: len(dims(node.inputs[index])) for index in operands}
    result: list[IntArray | None] = []
    for behind in range(max(ranks.values()), skip_last, -1):
        here = {index: rank - behind for index, rank in ranks.items() if rank >= behind}
        result.append(_one_axis(node, record, here))
    return tuple(result)


def _one_axis(node: ir.Node, record: Recorder, here: dict[int, int]) -> IntArray | None:
    """What lies along one axis of the result; ``here`` maps operands to their own axis."""
    sizes = {index: dims(node.inputs[index])[axis] for index, axis in here.items()}
    found = {index: record.input_axes(node, index)[axis] for index, axis in here.items()}
    with_channels = {index: channels for index, channels in found.items() if channels is not None}
    if any(size != 1 for size in sizes.values()):
        # A single channel that is repeated along a longer axis has to stay.
        for index in [index for index, size in sizes.items() if size == 1]:
            record.close(node, with_channels.pop(index, None), "it is repeated along an axis")
    if not with_channels:
        return None
    first = next(iter(with_channels.values()))
    for index, axis in here.items():
        if index in with_channels:
            record.channels.unify(first, with_channels[index])
        elif sizes[index] == 1 and len(first) > 1:
            continue
        elif is_constant(node.inputs[index]):
            record.use(node, index, axis, first)
        else:
            record.close(node, first, f"{node.inputs[index].name!r} there has no channels to cut")  # type: ignore[union-attr]
    return first


def unary(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """One tensor in; further inputs are single numbers."""
    axes = record.input_axes(node, 0)
    for index in range(1, len(node.inputs)):
        if node.inputs[index] is not None and dims(node.inputs[index]) not in ((), (1,)):
            raise Unknown(f"its input {index} is not a single number")
    return [axes] * len(node.outputs)


def parametric_relu(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """PRelu: the slope broadcasts to the data, never the other way."""
    return [broadcast_axes(node, record, [0, 1])]


def normalization(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """BatchNormalization and InstanceNormalization: each channel by itself, parameters with it."""
    axes = record.input_axes(node, 0)
    record.close_positions(node, axes, 1)
    channels = axes[1]
    if channels is not None:
        for index in range(1, len(node.inputs)):
            if not is_constant(node.inputs[index]):
                raise Unknown(f"its input {index} is not a constant")
            record.use(node, index, 0, channels)
    return [axes, *[(channels,)] * (len(node.outputs) - 1)]


def layer_normalization(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Scale and bias lie along the last axis; the statistics are over what stays of it.

    So a channel that went is not quite a channel that is zero: the mean is over fewer numbers.
    """
    axes = record.input_axes(node, 0)
    first = node.attributes.get_int("axis", -1) % len(axes)
    if first != len(axes) - 1 and any(channels is not None for channels in axes[first:]):
        raise Unknown("it normalizes over several axes")
    channels = axes[-1]
    if channels is not None:
        for index in (1, 2):
            value = present(node, index)
            if value is not None and not is_constant(value):
                raise Unknown(f"its input {index} is not a constant")
            if value is not None and dims(value)[-1] != 1:
                record.use(node, index, len(dims(value)) - 1, channels)
    return [axes, *[(*axes[:-1], None)] * (len(node.outputs) - 1)]
