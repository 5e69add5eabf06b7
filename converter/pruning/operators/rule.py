"""What the operators' rules say about channels, written down while a graph is walked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import onnx_ir as ir

from converter.pruning.operators.channels import BoolArray, Channels, IntArray
from runtimes.onnx_graph.values import is_constant

Axes = tuple[IntArray | None, ...]
"""For each axis of a value its channels, or ``None`` where the axis has none that could go."""


class Kept(Protocol):
    """Which channels stay."""

    def mask(self, channels: IntArray) -> BoolArray:
        """For each of the channels whether it stays."""
        ...

    def count(self, channels: IntArray) -> int:
        """How many of the channels stay."""
        ...


Edit = Callable[[ir.Node, Kept], None]
"""Brings attributes and shape constants of a node in line with the channels that stay.
"""


@dataclass(frozen=True)
class Use:
    """An axis of an input of a node, and the channels that lie along it.

    ``reads``: the node sums over the axis, so that a channel that is zero there is a channel
    that is not there. Otherwise the channels go on to the node's output.
    """

    node: str
    input: int
    axis: int
    channels: IntArray
    reads: bool


@dataclass(frozen=True)
class Split:
    """An axis of channels that a reshape splits: one of ``candidates`` axes carries them on.

    ``channels`` are those along the axis that was chosen, all others are tied to them.
    """

    candidates: int
    channels: IntArray


@dataclass
class Recorder:
    """Channels of each value by its name, uses and edits of each node.

    ``choices``: which of its candidates each split takes, by the split's key, the first where
    nothing is said; ``splits``: what the splits were.
    """

    choices: Mapping[str, int] = field(default_factory=dict)
    channels: Channels = field(default_factory=Channels)
    axes: dict[str, Axes] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    edits: list[tuple[str, Edit]] = field(default_factory=list)
    splits: dict[str, Split] = field(default_factory=dict)

    def input_axes(self, node: ir.Node, index: int) -> Axes:
        """Channels along the axes of an input; raises ``Unknown`` where its rank is unknown."""
        value = node.inputs[index]
        assert value is not None
        found = self.axes.get(str(value.name))
        if found is not None:
            return found
        if value.shape is None:
            raise Unknown(f"the rank of {value.name!r} is not known")
        return (None,) * len(value.shape)

    def use(
        self,
        node: ir.Node,
        index: int,
        axis: int,
        channels: IntArray,
        *,
        reads: bool = False,
    ) -> None:
        """Note that ``channels`` lie along ``axis`` (from the front) of an input."""
        self.uses.append(Use(str(node.name), index, axis, channels, reads))

    def edit(self, node: ir.Node, edit: Edit) -> None:
        """Note what has to be done to ``node`` when channels have gone."""
        self.edits.append((str(node.name), edit))

    def make(self, node: ir.Node, count: int) -> IntArray:
        """New channels that ``node`` makes."""
        return self.channels.make(count, str(node.name))

    def close(self, node: ir.Node, channels: IntArray | None, reason: str) -> None:
        """Channels that ``node`` does not let go."""
        if channels is not None:
            self.channels.close(channels, f"{node.op_type} {node.name}: {reason}")

    def close_positions(self, node: ir.Node, axes: Axes, channel_axis: int) -> None:
        """Whatever lies along another axis than that of the channels: samples, places, steps."""
        for axis, channels in enumerate(axes):
            if axis != channel_axis:
                self.close(node, channels, f"they lie along its axis {axis}, not its channels'")


class Unknown(Exception):
    """Raised by a rule that cannot tell what becomes of the channels; the message is why.

    It never leaves the walk, which closes all channels that the node sees.
    """


Rule = Callable[[ir.Node, Recorder], Sequence[Axes]]
"""Notes how channels move through a node and returns the axes of its outputs."""


def dims(value: ir.Value | None) -> tuple[int | str | None, ...]:
    """Shape of a value: numbers, names, ``None``; raises ``Unknown`` where the rank is unknown."""
    if value is None or value.shape is None:
        raise Unknown(f"the rank of {value.name!r} is not known" if value else "an input is absent")
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def present(node: ir.Node, index: int) -> ir.Value | None:
    """An optional input, ``None`` where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Shape of a constant, ``None`` for what is not one."""
    if value is None or not is_constant(value) or value.const_value is None:
        return None
    return tuple(int(dim) for dim in value.const_value.shape)  # type: ignore[arg-type]
