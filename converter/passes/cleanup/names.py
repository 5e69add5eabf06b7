"""Give every value and every node a name of its own; names that callers see stay."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass


class UniqueNames(RewritePass):
    """Name what has no name, and rename what shares one, across subgraphs too.

    Inputs and outputs of the main graph keep their names; whatever else carries one of them
    gives way. The empty name of an optional output that nobody uses stays empty: it tells a
    runtime not to compute it.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Name the values and nodes of the main graph and its subgraphs."""
        modified = False
        values = list(dict.fromkeys(_values(model)))
        names = {value.name for value in values if value.name}
        seen: set[str] = set()
        for value in values:
            if not value.name and _is_skipped_output(value):
                continue
            if not value.name or value.name in seen:
                value.name = _unused(value.name or _base_name(value), names)
                modified = True
            seen.add(value.name)
        nodes = [node for graph in model.graphs() for node in graph]
        names = {node.name for node in nodes if node.name}
        seen = set()
        for node in nodes:
            if not node.name or node.name in seen:
                node.name = _unused(node.name or _output_name(node) or node.op_type, names)
                modified = True
            seen.add(node.name)
        return modified


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """Every value once or more often; those that keep their names come first."""
    yield from model.graph.inputs
    yield from model.graph.outputs
    for graph in model.graphs():
        yield from graph.inputs
        yield from graph.outputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs


def _is_skipped_output(value: ir.Value) -> bool:
    return value.producer() is not None and not value.uses() and not value.is_graph_output()


def _base_name(value: ir.Value) -> str:
    producer = value.producer()
    return (producer.name or producer.op_type) if producer is not None else "value"


def _output_name(node: ir.Node) -> str | None:
    return next((output.name for output in node.outputs if output.name), None)


def _unused(base: str, names: set[str]) -> str:
    name, count = base, 0
    while name in names:
        count += 1
        name = f"{base}_{count}"
    names.add(name)
    return name
