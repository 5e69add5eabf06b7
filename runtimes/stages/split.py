"""Cuts a graph at boundaries into models of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from runtimes.onnx_graph.subgraphs import extract_submodel, needs
from runtimes.stages.costing import Crossing


def split_graph(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    positions: Sequence[int],
    crossing: Mapping[str, Crossing],
) -> list[ir.Model]:
    """The models between the beginning, each of ``positions`` among ``nodes``, and the end.

    A part takes what it reads and gives what later parts read, and those outputs of the graph that
    it computes. Weights are shared with ``model``, not copied. An output that is an input or a
    weight belongs to the last part.
    """
    ends = [*positions, len(nodes)]
    pieces = [nodes[first:last] for first, last in zip([0, *positions], ends, strict=True)]
    return [
        _part(model, piece, [node for later in pieces[number + 1 :] for node in later], crossing)
        for number, piece in enumerate(pieces)
    ]


def _part(
    model: ir.Model,
    piece: Sequence[ir.Node],
    later: Sequence[ir.Node],
    crossing: Mapping[str, Crossing],
) -> ir.Model:
    inside = {id(value) for node in piece for value in node.outputs}
    wanted = {id(value) for node in later for value in needs(node)}
    reads = {
        id(value): value
        for node in piece
        for value in needs(node)
        if id(value) not in inside and not value.is_initializer()
    }
    gives = [
        value
        for node in piece
        for value in node.outputs
        if id(value) in wanted or value.is_graph_output()
    ]
    if not later:
        passed = [value for value in model.graph.outputs if value.producer() is None]
        gives += passed
        reads |= {id(value): value for value in passed if not value.is_initializer()}
    inputs = list(reads.values())
    types = {name: (one.dtype, one.rank) for name, one in crossing.items()}
    part = extract_submodel(model, inputs, gives, piece, types)
    _state_types(part.graph.inputs, inputs, crossing)
    _state_types(part.graph.outputs, gives, crossing)
    return part


def _state_types(
    own: Sequence[ir.Value], before: Sequence[ir.Value], crossing: Mapping[str, Crossing]
) -> None:
    """State types and shapes as the whole graph has them, or else what was seen of them."""
    for value, source in zip(own, before, strict=True):
        seen = crossing.get(str(source.name))
        if source.type is not None:
            value.type = source.type
        elif seen is not None:
            value.type = ir.TensorType(ir.DataType.from_numpy(seen.dtype))
        if source.shape is not None:
            value.shape = source.shape.copy()
        elif seen is not None:
            value.shape = ir.Shape([None] * seen.rank)


def value_names(values: Sequence[ir.Value]) -> tuple[str, ...]:
    """The names of values, in order."""
    return tuple(str(value.name) for value in values)
