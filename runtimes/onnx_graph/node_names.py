"""Names of nodes, by which profilers and reports tell them apart."""

from __future__ import annotations

import onnx_ir as ir


def has_node_names(model: ir.Model) -> bool:
    """Whether every node of the graph has a name of its own."""
    names = [node.name for node in model.graph]
    return all(names) and len(set(names)) == len(names)


def with_node_names(model: ir.Model) -> ir.Model:
    """A copy (weights shared) in which every node has a name of its own."""
    copy = model.clone()
    seen: set[str | None] = {None, ""}
    for number, node in enumerate(copy.graph):
        if node.name in seen:
            node.name = f"{node.op_type}_{number}_unnamed"
        seen.add(node.name)
    return copy
