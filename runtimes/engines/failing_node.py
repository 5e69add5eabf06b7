"""Which node an engine fails on, where its message does not say."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from runtimes.engines.fixed_sizes import first_nodes


def first_failing_node(model: ir.Model, fails: Callable[[ir.Model], bool]) -> ir.Node | None:
    """The last node of the shortest beginning of ``model`` that fails, found by halving.

    Args:
        model: A model that fails as a whole.
        fails: Whether an engine fails on a model; it is asked about beginnings of ``model``, whose
            outputs are the values that no later node reads.

    Returns:
        The node, or None if the beginnings do not fail although the whole does.
    """
    nodes = list(model.graph)
    good, bad = 0, len(nodes)
    if not nodes or not fails(first_nodes(model, bad)):
        return None
    while bad - good > 1:
        middle = (good + bad) // 2
        if fails(first_nodes(model, middle)):
            bad = middle
        else:
            good = middle
    return _computing(nodes[bad - 1])


def _computing(node: ir.Node) -> ir.Node:
    """The operator that an engine fuses a QuantizeLinear with: what it does not do in INT8."""
    source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    return source if node.op_type == "QuantizeLinear" and source is not None else node


def named(node: ir.Node, reason: str) -> str:
    """The reason with the node that it is about."""
    domain = f"{node.domain}." if node.domain else ""
    name = node.name or next((value.name for value in node.outputs if value.name), "")
    return f"node {name!r} ({domain}{node.op_type}): {reason}"
