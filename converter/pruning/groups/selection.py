"""What is known of a graph's channels, and which of them stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import BoolArray, IntArray, Partition
from converter.pruning.operators.rule import Axes, Edit, Use


@dataclass(frozen=True)
class Group:
    """Units that are alike: each may be removed, as long as one of every tensor stays.

    ``units``: those that may go, int64; ``closed_units``: how many have to stay, and
    ``closed_reason`` why (the first reason). ``makers`` are the nodes whose outputs the channels
    are, ``layers`` the Keras layers of those nodes (else the nodes' names).
    """

    name: str
    units: IntArray
    closed_units: int
    closed_reason: str | None
    makers: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether any unit may be removed."""
        return len(self.units) > 1 or (len(self.units) == 1 and self.closed_units > 0)


@dataclass(frozen=True)
class Dependencies:
    """What ``find_dependencies`` found.

    ``axes``: channels along the axes of each value, by its name; ``uses`` and ``edits`` as the
    operators' rules noted them. ``runs``: every different array of channels, of which at least
    one has to stay: no tensor may have an axis of length zero.
    """

    partition: Partition
    groups: tuple[Group, ...]
    axes: Mapping[str, Axes]
    uses: tuple[Use, ...]
    edits: tuple[tuple[str, Edit], ...]
    runs: tuple[IntArray, ...]

    def everything(self) -> Selection:
        """The selection in which nothing has gone."""
        return Selection(self.partition, np.ones(self.partition.units, dtype=np.bool_))

    def leaves_something(self, kept: Selection) -> bool:
        """Whether every axis keeps a channel."""
        return all(kept.mask(run).any() for run in self.runs)

    def fill_empty(self, kept: Selection, first: IntArray | None = None) -> Selection:
        """The selection with a unit back in each axis that it leaves empty.

        The one of them that stands earliest in ``first``, units in the order of preference.
        """
        units = kept.units.copy()
        place = np.full(self.partition.units, self.partition.units)
        if first is not None:
            place[first[::-1]] = np.arange(len(first))[::-1]
        for run in self.runs:
            of_run = np.unique(self.partition.unit_of[run])
            if not units[of_run].any():
                units[of_run[np.argmin(place[of_run])]] = True
        return Selection(self.partition, units)

    def of_what_is_left(self, model: ir.Model) -> Dependencies:
        """Those of ``model``, which is this one without some of its nodes."""
        nodes = {str(node.name) for node in model.graph}
        values = {str(value.name) for node in model.graph for value in node.outputs}
        values |= {str(value.name) for value in model.graph.inputs}
        uses = tuple(use for use in self.uses if use.node in nodes)
        axes = {name: along for name, along in self.axes.items() if name in values}
        edits = tuple((name, edit) for name, edit in self.edits if name in nodes)
        return replace(self, uses=uses, axes=axes, edits=edits, runs=find_runs(uses, axes))


@dataclass(frozen=True)
class Selection:
    """Which units stay, bool ``[units]``."""

    partition: Partition
    units: BoolArray

    def mask(self, channels: IntArray) -> BoolArray:
        """For each of the channels whether it stays."""
        return self.units[self.partition.unit_of[channels]]

    def count(self, channels: IntArray) -> int:
        """How many of the channels stay."""
        return int(np.count_nonzero(self.mask(channels)))

    def without(self, units: IntArray) -> Selection:
        """The selection that lacks these units too; raises ``ValueError`` for closed ones."""
        closed = [int(unit) for unit in units if int(unit) in self.partition.closed]
        if closed:
            raise ValueError(f"unit {closed[0]} has to stay: {self.partition.closed[closed[0]]}")
        remaining = self.units.copy()
        remaining[units] = False
        return Selection(self.partition, remaining)


def find_runs(uses: Iterable[Use], axes_of: Mapping[str, Axes]) -> tuple[IntArray, ...]:
    """Every different array of channels that lies along an axis of a value or a weight."""
    runs: dict[bytes, IntArray] = {}
    found = [use.channels for use in uses]
    found += [one for axes in axes_of.values() for one in axes if one is not None]
    for channels in found:
        if channels.size:
            runs.setdefault(channels.tobytes(), channels)
    return tuple(runs.values())
