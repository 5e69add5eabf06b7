"""Remove what the model does not need: dead and repeated nodes, unused constants, names."""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir
from onnx_ir.passes import common

from converter.passes.cleanup.common_subexpressions import MergeCommonSubexpressions
from converter.passes.cleanup.constant_if import ResolveConstantIf
from converter.passes.cleanup.identities import RemoveIdentities
from converter.passes.cleanup.names import UniqueNames
from runtimes.onnx_graph.rewrite import Refuse, RewritePass

# Until IR version 3, every initializer also had to be an input, which callers could override.
_OLDEST_WITHOUT_INPUTS = 4


class Clean(RewritePass):
    """Passes of onnx-ir and some of ours, repeated until nothing changes.

    Afterwards every constant is an initializer that callers cannot override, every value and node
    has a unique name, nodes are in topological order, and nothing is left that no output needs.
    The names of inputs and outputs stay the same.
    """

    # One pass may enable another; the limit ends any cycle.
    _max_rounds = 20

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Clean ``model`` in place."""
        before = fingerprint(model)
        previous = before
        for _ in range(self._max_rounds):
            _once(model)
            current = fingerprint(model)
            if current == previous:
                break
            previous = current
        return previous != before


def _once(model: ir.Model) -> None:
    ir.passes.Sequential(
        common.RemoveInitializersFromInputsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        ResolveConstantIf(),
        RemoveIdentities(),
        MergeCommonSubexpressions(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        common.RemoveUnusedOpsetsPass(),
        common.TopologicalSortPass(),
        UniqueNames(),
    )(model)
    if model.graph.initializers:
        model.ir_version = max(model.ir_version, _OLDEST_WITHOUT_INPUTS)
    for graph in model.graphs():
        for name, value in tuple(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                graph.initializers.pop(name)


def fingerprint(model: ir.Model) -> Hashable:
    """Everything that a pass can change in the structure of ``model``; equal if nothing changed.

    Tensors are compared by identity, so only fingerprints of the same live model are comparable.
    """
    graphs = tuple(_graph_fingerprint(graph) for graph in model.graphs())
    return model.ir_version, graphs, tuple(model.functions)


def _graph_fingerprint(graph: ir.Graph) -> Hashable:
    return (
        tuple(value.name for value in graph.inputs),
        tuple(value.name for value in graph.outputs),
        tuple((name, id(value.const_value)) for name, value in graph.initializers.items()),
        tuple(sorted(graph.opset_imports.items())),
        tuple(
            (
                id(node),
                node.op_type,
                node.name,
                tuple(None if i is None else (id(i), i.name) for i in node.inputs),
                tuple(output.name for output in node.outputs),
                tuple((name, id(a)) for name, a in node.attributes.items()),
            )
            for node in graph
        ),
    )
