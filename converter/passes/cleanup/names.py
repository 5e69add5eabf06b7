"""Give every value and every node a unique name; names that callers see stay the same."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass


class UniqueNames(RewritePass):
    """Name what has no name, and rename what shares one, also across subgraphs.

    Inputs and outputs of the main graph keep their names; anything else with such a name is
    renamed. The empty name of an unused optional output stays empty: it tells a runtime not to
    compute it.
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
    """Every value, at least once; those that keep their names come first."""
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
