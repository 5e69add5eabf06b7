"""Which channels of a graph go together: the groups, and what removing them touches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import BoolArray, IntArray, Partition
from converter.pruning.operators.rule import Axes, Edit, Recorder, Unknown, Use
from converter.pruning.operators.table import RULES
from runtimes.onnx_graph.layer_names import LAYER_KEY
from runtimes.onnx_graph.values import is_constant


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

    def of_what_is_left(self, model: ir.Model) -> Dependencies:
        """Those of ``model``, which is this one without some of its nodes."""
        nodes = {str(node.name) for node in model.graph}
        values = {str(value.name) for node in model.graph for value in node.outputs}
        values |= {str(value.name) for value in model.graph.inputs}
        uses = tuple(use for use in self.uses if use.node in nodes)
        axes = {name: along for name, along in self.axes.items() if name in values}
        edits = tuple((name, edit) for name, edit in self.edits if name in nodes)
        return replace(self, uses=uses, axes=axes, edits=edits, runs=_runs(uses, axes))


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


def find_dependencies(model: ir.Model) -> Dependencies:
    """Walk the main graph of ``model`` and find the channels that may be removed.

    Every value needs a name of its own and, for its channels to be followed, a shape: run
    ``converter.passes.optimize`` before. The model is not changed.
    """
    record = Recorder()
    for node in model.graph:
        _walk(node, record)
    _close_outside(model, record)
    _tie_shared_weights(model, record)
    partition = record.channels.partition()
    nodes = {str(node.name): node for node in model.graph}
    return Dependencies(
        partition=partition,
        groups=_groups(partition, nodes),
        axes=dict(record.axes),
        uses=tuple(record.uses),
        edits=tuple(record.edits),
        runs=_runs(record.uses, record.axes),
    )


def _walk(node: ir.Node, record: Recorder) -> None:
    """Apply the rule of one node; without one, everything that it sees has to stay."""
    rule = RULES.get(node.op_type) if node.domain == "" else None
    try:
        if rule is None:
            raise Unknown("no rule says how channels move through it")
        for output, axes in zip(node.outputs, rule(node, record), strict=False):
            record.axes[str(output.name)] = axes
    except Unknown as unknown:
        for value in node.inputs:
            for channels in record.axes.get(str(value.name), ()) if value is not None else ():
                record.close(node, channels, str(unknown))


def _close_outside(model: ir.Model, record: Recorder) -> None:
    """Channels that callers see, or subgraphs, have to stay."""
    for output in model.graph.outputs:
        for channels in record.axes.get(str(output.name), ()):
            if channels is not None:
                record.channels.close(channels, f"{output.name!r} is an output of the model")
    for node in model.graph:
        for value in node.outputs:
            for use in value.uses():
                if use.node.graph is not model.graph:
                    for channels in record.axes.get(str(value.name), ()):
                        record.close(use.node, channels, "a subgraph uses them")


def _tie_shared_weights(model: ir.Model, record: Recorder) -> None:
    """A weight that several nodes use is cut for all of them alike, or not at all."""
    cuts: dict[tuple[str, int], dict[int, IntArray]] = defaultdict(dict)
    for use in record.uses:
        along = cuts[use.node, use.input]
        if use.axis in along:
            record.channels.unify(along[use.axis], use.channels)
        along[use.axis] = use.channels
    for value in model.graph.initializers.values():
        users = [(use.node, use.idx) for use in value.uses()]
        found = [cuts.get((str(node.name), index), {}) for node, index in users]
        for axis in sorted({axis for along in found for axis in along}):
            channels = [along.get(axis) for along in found]
            first = next(one for one in channels if one is not None)
            for one, (node, _) in zip(channels, users, strict=True):
                if one is not None:
                    record.channels.unify(first, one)
                else:
                    record.close(node, first, f"it uses the weight {value.name!r} as a whole")
            if value.is_graph_output() or not is_constant(value):
                record.channels.close(first, f"{value.name!r} belongs to the model's interface")


def _runs(uses: Iterable[Use], axes_of: Mapping[str, Axes]) -> tuple[IntArray, ...]:
    runs: dict[bytes, IntArray] = {}
    for use in uses:
        runs.setdefault(use.channels.tobytes(), use.channels)
    for axes in axes_of.values():
        for channels in axes:
            if channels is not None:
                runs.setdefault(channels.tobytes(), channels)
    return tuple(runs.values())


def _groups(partition: Partition, nodes: Mapping[str, ir.Node]) -> tuple[Group, ...]:
    group_of_unit = np.zeros(partition.units, np.int64)
    group_of_unit[partition.unit_of] = partition.group_of
    is_open = np.ones(partition.units, dtype=np.bool_)
    is_open[list(partition.closed)] = False
    groups = []
    for number, makers in enumerate(partition.makers):
        units = np.flatnonzero(group_of_unit == number)
        closed = units[~is_open[units]]
        layers = _layers(makers, nodes)
        groups.append(
            Group(
                name=layers[0],
                units=units[is_open[units]],
                closed_units=len(closed),
                closed_reason=partition.closed[int(closed[0])] if len(closed) else None,
                makers=makers,
                layers=layers,
            )
        )
    return tuple(groups)


def _layers(makers: Sequence[str], nodes: Mapping[str, ir.Node]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(nodes[maker].metadata_props.get(LAYER_KEY) or maker for maker in makers)
    )
