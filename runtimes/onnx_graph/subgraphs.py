"""Parts of a graph as separate models: the nodes between some values and others."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

Key = TypeVar("Key", bound=Hashable)


def captured(node: ir.Node) -> Iterator[ir.Value]:
    """Values that the node's subgraphs use from outside (outer-scope values)."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graphs = [attribute.as_graph()]
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs = list(attribute.as_graphs())
        else:
            continue
        for graph in graphs:
            inside = {id(value) for value in (*graph.inputs, *graph.initializers.values())}
            for inner in ir.traversal.RecursiveGraphIterator(graph):
                inside |= {id(value) for value in inner.outputs}
                for sub in _subgraphs(inner):
                    inside |= {id(value) for value in (*sub.inputs, *sub.initializers.values())}
            for inner in ir.traversal.RecursiveGraphIterator(graph):
                for value in inner.inputs:
                    if value is not None and id(value) not in inside:
                        yield value


def needs(node: ir.Node) -> list[ir.Value]:
    """All values that a node reads, including those of its subgraphs, without duplicates."""
    found = {id(value): value for value in node.inputs if value is not None}
    found.update({id(value): value for value in captured(node)})
    return list(found.values())


def between(inputs: Collection[ir.Value], outputs: Sequence[ir.Value]) -> list[ir.Node]:
    """The nodes that compute ``outputs`` from ``inputs``, in no particular order."""
    stop = {id(value) for value in inputs}
    nodes: dict[int, ir.Node] = {}
    pending = [value for value in outputs if id(value) not in stop]
    while pending:
        node = pending.pop().producer()
        if node is None or id(node) in nodes:
            continue
        nodes[id(node)] = node
        pending += [value for value in needs(node) if id(value) not in stop]
    return list(nodes.values())


def last_uses(touched: Sequence[Iterable[Key]]) -> list[list[Key]]:
    """For each step, what it uses and no later step does: this can be freed after the step."""
    last = {key: place for place, keys in enumerate(touched) for key in keys}
    dead: list[list[Key]] = [[] for _ in touched]
    for key, place in last.items():
        dead[place].append(key)
    return dead


def extract_submodel(
    model: ir.Model,
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    nodes: Sequence[ir.Node],
    types: Mapping[str, tuple[np.dtype[Any], int]],
) -> ir.Model:
    """A model of only ``nodes`` (in topological order); weights are shared, not copied.

    ``types`` holds each input's dtype and rank, because graphs do not always record them for
    intermediate values.
    """
    fed = {id(value) for value in inputs}
    weights = {
        id(value): value
        for node in nodes
        for value in needs(node)
        if value.is_initializer() and id(value) not in fed
    }
    graph = ir.GraphView(
        inputs,
        outputs,
        nodes=nodes,
        initializers=list(weights.values()),
        opset_imports=model.graph.opset_imports,
        name=model.graph.name or "slice",
    ).clone()
    for value in graph.inputs:
        dtype, rank = types[str(value.name)]
        value.type = ir.TensorType(ir.DataType.from_numpy(dtype))
        value.shape = ir.Shape([None] * rank)
        value.const_value = None
    functions = [function.clone() for function in model.functions.values()]
    return ir.Model(graph, ir_version=model.ir_version, functions=functions)


def with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy of ``model`` (weights shared) whose outputs are the values called ``names``.

    Without any names it keeps its own.
    """
    copy = model.clone()
    values = {str(value.name): value for value in copy.graph.inputs}
    values |= {str(value.name): value for node in copy.graph for value in node.outputs}
    if names:
        copy.graph.outputs.clear()
        copy.graph.outputs.extend(values[name] for name in dict.fromkeys(names))
    return copy


def _subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()
