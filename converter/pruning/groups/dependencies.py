"""Which channels of a graph go together: the groups, and what removing them touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.misfit import find_misfit
from converter.pruning.groups.selection import Dependencies, Group, Selection, find_runs
from converter.pruning.groups.walk import best_record
from converter.pruning.operators.channels import Partition
from converter.pruning.operators.rule import Recorder
from runtimes.onnx_graph.layer_names import LAYER_KEY

_TRIAL_SHARE = 0.5
"""Of the units that may go, how many stay when the shapes are tried: any share would do."""


def find_dependencies(model: ir.Model) -> Dependencies:
    """Walk the main graph of ``model`` and find the channels that may be removed.

    Every value needs a name of its own and, for its channels to be followed, a shape: run
    ``converter.passes.optimize`` before. The model is not changed. What the rules of the operators
    say is tried on the shapes: channels whose removal gives others than it should are closed.
    """
    record = best_record(model)
    while True:
        found = _conclude(model, record)
        misfit = find_misfit(model, found, _trial(found))
        if misfit is None:
            return found
        _close_around(misfit, found, record)


def _conclude(model: ir.Model, record: Recorder) -> Dependencies:
    partition = record.channels.partition()
    nodes = {str(node.name): node for node in model.graph}
    return Dependencies(
        partition=partition,
        groups=_groups(partition, nodes),
        axes=dict(record.axes),
        uses=tuple(record.uses),
        edits=tuple(record.edits),
        runs=find_runs(record.uses, record.axes),
    )


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


def _trial(dependencies: Dependencies) -> Selection:
    """About half of all units that may go are gone, no regular ones, and no axis is empty."""
    random = np.random.default_rng(0)
    units = np.ones(dependencies.partition.units, dtype=np.bool_)
    for group in dependencies.groups:
        if group.is_open:
            units[group.units] = random.random(len(group.units)) < _TRIAL_SHARE
    return dependencies.fill_empty(Selection(dependencies.partition, units))


def _close_around(node: ir.Node, dependencies: Dependencies, record: Recorder) -> None:
    """Close all channels that ``node`` sees; where none of them may go, every channel."""
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    found = [one for value in values for one in dependencies.axes.get(str(value.name), ())]
    seen = [channels for channels in found if channels is not None]
    closed = dependencies.partition.closed
    units = np.unique(dependencies.partition.unit_of[np.concatenate([np.zeros(0, int), *seen])])
    if all(int(unit) in closed for unit in units):
        seen = [np.arange(record.channels.count)]
    for channels in seen:
        record.close(node, channels, "its shapes do not follow when channels go")
