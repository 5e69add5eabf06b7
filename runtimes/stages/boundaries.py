"""Where a graph can be cut in two, and what would travel from one part to the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.onnx_graph.subgraphs import needs


@dataclass(frozen=True)
class Boundary:
    """A place between nodes: ``position`` of them stand before it, ``values`` cross it.

    Inputs of the graph that are read behind it cross it as well: they travel, too.
    """

    position: int
    values: tuple[ir.Value, ...]


@dataclass(frozen=True)
class Span:
    """Nodes that run as one: the places of the first and of the last one among all nodes."""

    first: int
    last: int


def find_boundaries(
    graph: ir.Graph, nodes: Sequence[ir.Node], together: Collection[Span] = ()
) -> list[Boundary]:
    """All places behind the first node and before the last where ``graph`` can be cut.

    ``nodes`` are its nodes in topological order. No boundary is inside a span of ``together``, and
    only tensors cross one: sequences and optional values have no form between processes.
    """
    split = {place for span in together for place in range(span.first + 1, span.last + 1)}
    last = _last_reads(nodes)
    alive = [value for value in graph.inputs if id(value) in last]
    found = []
    for place, node in enumerate(nodes[:-1]):
        alive += [value for value in node.outputs if id(value) in last]
        alive = [value for value in alive if last[id(value)] > place]
        if place + 1 not in split and all(_is_tensor(value) for value in alive):
            found.append(Boundary(place + 1, tuple(alive)))
    return found


def _last_reads(nodes: Sequence[ir.Node]) -> dict[int, int]:
    """By value (its id), the place of the last node that reads it."""
    return {
        id(value): place
        for place, node in enumerate(nodes)
        for value in needs(node)
        if not value.is_initializer()
    }


def _is_tensor(value: ir.Value) -> bool:
    return value.type is None or isinstance(value.type, ir.TensorType)
