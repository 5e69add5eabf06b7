"""Which nodes of a model became which node of the graph that ONNX Runtime made of it.

Fused nodes keep an output of the model, nodes of the blocked layout (NCHWc) are called after
their output, and later rewrites append a token.
"""

from __future__ import annotations

import re

import onnx_ir as ir

_INSERTED = frozenset({"ReorderInput", "ReorderOutput"})
_SUFFIXES = re.compile(r"(_mul_nchwc|_nchwc|_token_\d+|_nhwc)+$")


class Origins:
    """The nodes of ``model`` by name and by output, and what ``optimized`` made of them."""

    def __init__(self, model: ir.Model, optimized: ir.Model) -> None:
        self.nodes = {str(node.name): node for node in model.graph}
        self.producers = {
            str(value.name): node for node in model.graph for value in node.outputs if value.name
        }
        self._ends = {id(end) for node in optimized.graph if (end := self.end(node))}

    def end(self, node: ir.Node) -> ir.Node | None:
        """The model's node with the same output as a node of the optimized graph."""
        for value in node.outputs:
            if str(value.name) in self.producers and node.op_type not in _INSERTED:
                return self.producers[str(value.name)]
        name = _SUFFIXES.sub("", str(node.name))  # the name of the node, or of its output
        return self.nodes.get(name) or self.producers.get(name)

    def fused(self, node: ir.Node | None) -> tuple[str, ...]:
        """The model's nodes that were fused into a node of the optimized graph, if more than one.

        These are its last node and those before it, up to the last nodes of other fused nodes.
        """
        end = self.end(node) if node else None
        if end is None or (node and node.op_type in _INSERTED):
            return ()
        pending: list[ir.Node] = [end]
        found: dict[str, None] = {}
        while pending:
            one = pending.pop()
            found[str(one.name)] = None
            for value in one.inputs:
                before = value.producer() if value is not None else None
                if before is not None and id(before) not in self._ends:
                    pending.append(before)
        return tuple(reversed(found)) if len(found) > 1 else ()
