"""Whether every name in a graph is given once, before it is needed, and to nobody else."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from runtimes.onnx_files.validation.invalid import InvalidModel, node_name, shown


def check_scope(
    nodes: Sequence[Any], given: Sequence[str], wanted: Sequence[str], outer: AbstractSet[str]
) -> set[str]:
    """Check the names of one graph; what it and the graphs around it define.

    ``given``: inputs and initializers, ``wanted``: outputs, ``outer``: names of the graphs around
    it. Each value is made once, each that is read is made somewhere, and none by way of itself.
    """
    made: dict[str, int | None] = {}
    for name in given:
        if not name:
            raise InvalidModel("an input or a tensor has no name")
        if name in made:
            raise InvalidModel(f"{shown(name)} is the name of two inputs or tensors")
        made[name] = None
    for place, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in made:
                raise InvalidModel(f"{shown(name)}, an output of {node_name(node)}, is made twice")
            made[name] = place
    known = made.keys() | outer
    for node in nodes:
        for name in filter(None, node.input):
            if name not in known:
                raise InvalidModel(f"{node_name(node)} reads {shown(name)}, which nothing makes")
    for name in wanted:
        if name not in made:
            raise InvalidModel(f"nothing makes the output {shown(name)}")
    if len(set(wanted)) != len(wanted):
        raise InvalidModel("two outputs have one name")
    order_of(nodes, made)
    return known


def captured(graph: Any) -> Iterator[str]:
    """Yield the names that a graph inside a node reads; its own are among them."""
    for node in graph.node:
        yield from filter(None, node.input)
        for inner in graphs_of(node):
            yield from captured(inner)


def graphs_of(node: Any) -> Iterator[Any]:
    """Yield the graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def order_of(nodes: Sequence[Any], made: Mapping[str, int | None]) -> list[int]:
    """The places of ``nodes`` such that each comes after those that it reads from.

    ``made``: by name, the place of the node that makes a value. By Kahn's algorithm; those that
    can never be ready are part of a circle, or behind one: ``InvalidModel``.
    """
    readers: list[list[int]] = [[] for _ in nodes]
    waiting = [0] * len(nodes)
    for place, node in enumerate(nodes):
        read = {*node.input, *(name for graph in graphs_of(node) for name in captured(graph))}
        for maker in {made.get(name) for name in read}:
            if maker is not None:
                readers[maker].append(place)
                waiting[place] += 1
    ready = [place for place, count in enumerate(waiting) if not count]
    order: list[int] = []
    while ready:  # the first that is ready, so that what is in order stays so
        order.append(heapq.heappop(ready))
        for reader in readers[order[-1]]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
        raise InvalidModel(f"{node_name(stuck)} needs its own result: the graph has a circle")
    return order
