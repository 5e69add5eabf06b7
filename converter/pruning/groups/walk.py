"""The rules of the operators applied to a graph, node by node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import BoolArray, Channels, IntArray, Mark
from converter.pruning.operators.rule import Recorder, Unknown, Use
from converter.pruning.operators.table import RULES
from runtimes.onnx_graph.values import is_constant

# Their rules say what comes out; what does not is not needed any more.
_PICKS = frozenset({"Gather", "Shape", "Slice"})


def best_record(model: ir.Model) -> Recorder:
    """What the rules say, with each split along the axis that lets most channels go.

    A split whose channels all have to stay is tried along another axis.
    """
    choices: dict[str, int] = {}
    best: Recorder | None = None
    most = -1
    while True:
        record = _walk_all(model, choices)
        is_open = _open_channels(record.channels)
        count = int(np.count_nonzero(is_open))
        if best is None or count > most:
            best, most = record, count
        further = {
            key: choices.get(key, 0) + 1
            for key, split in record.splits.items()
            if choices.get(key, 0) + 1 < split.candidates and not is_open[split.channels].any()
        }
        if not further:
            return best
        choices.update(further)


def _open_channels(channels: Channels) -> BoolArray:
    partition = channels.partition()
    is_open = np.ones(partition.units, dtype=np.bool_)
    is_open[list(partition.closed)] = False
    return is_open[partition.unit_of]


def _walk_all(model: ir.Model, choices: Mapping[str, int]) -> Recorder:
    record = Recorder(dict(choices))
    for node in model.graph:
        _walk(node, record)
    _close_outside(model, record)
    _tie_shared_weights(model, record)
    return record


def _walk(node: ir.Node, record: Recorder) -> None:
    """Apply the rule of one node; without one, everything that it sees has to stay.

    So has what the node makes, where its rule finds out too late that it cannot tell.
    """
    rule = RULES.get(node.op_type) if node.domain == "" else None
    made, uses, edits = record.channels.count, len(record.uses), len(record.edits)
    mark = record.channels.mark()
    try:
        if rule is None:
            raise Unknown("no rule says how channels move through it")
        results = tuple(rule(node, record))
    except Unknown as unknown:
        del record.uses[uses:], record.edits[edits:]
        record.close(node, np.arange(made, record.channels.count), str(unknown))
        for channels in _channels_read(node, record):
            record.close(node, channels, str(unknown))
        return
    for output, axes in zip(node.outputs, results, strict=False):
        record.axes[str(output.name)] = axes
    if node.op_type not in _PICKS:
        _close_lost(node, record, mark, record.uses[uses:])


def _channels_read(node: ir.Node, record: Recorder) -> list[IntArray]:
    """What lies along the axes of the node's inputs."""
    values = [value for value in node.inputs if value is not None]
    found = [channels for value in values for channels in record.axes.get(str(value.name), ())]
    return [channels for channels in found if channels is not None]


def _close_lost(node: ir.Node, record: Recorder, mark: Mark, uses: Sequence[Use]) -> None:
    """Close what the rule says nothing of: neither does it come out, nor is it summed over."""
    said = [record.channels.said_since(mark), *(use.channels for use in uses if use.reads)]
    for output in node.outputs:
        said += [one for one in record.axes.get(str(output.name), ()) if one is not None]
    known = np.concatenate(said)
    for channels in _channels_read(node, record):
        record.close(node, channels[~np.isin(channels, known)], "nothing says where they go")


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
        found = [
            cuts.get((str(node.name), index), {}) if node.graph is model.graph else {}
            for node, index in users
        ]
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
