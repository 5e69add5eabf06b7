"""Errors for what cannot be exported: the layer, the operators and a way around it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from converter.export.tracing.layer_scopes import layer_of
from converter.lowering.operators.base import UnsupportedLowering
from converter.lowering.operators.inexpressible import REASONS
from runtimes.errors import UnsupportedOperator
from runtimes.keras_models.scope_names import from_scope

WAY_OUT = (
    "replace the layer by one without it, or move it out of the model into the code that "
    "preprocesses the data"
)

# Operators that contain programs of another compiler or of Python; tf2onnx fails on some of them
# before it reports them.
_OPAQUE = {"EagerPyFunc", "PyFuncStateless", "XlaCallModule", "XlaLaunch"}


def refusal(
    operators: Sequence[tuple[str, str]], layers: Set[str], reason: str = ""
) -> UnsupportedOperator:
    """The error for operators without an ONNX form, given as node names and operator types.

    Each layer is named once with all its operators, so that a user sees everything at once.
    """
    by_layer: dict[str, set[str]] = {}
    for node, operator in operators:
        layer = layer_of(node, layers)
        where = f"the layer {from_scope(layer)!r}" if layer else f"the operator {node!r}"
        by_layer.setdefault(where, set()).add(operator)
    uses = [
        f"{where} uses the TensorFlow operator{'s' * (len(found) > 1)} {', '.join(sorted(found))}"
        for where, found in sorted(by_layer.items())
    ]
    why = f"with no ONNX form as it is used: {reason}" if reason else _no_form(operators)
    return UnsupportedOperator(f"{' and '.join(uses)}, {why}; {WAY_OUT}")


def _no_form(operators: Sequence[tuple[str, str]]) -> str:
    known = dict.fromkeys(REASONS[operator] for _, operator in operators if operator in REASONS)
    return f"with no ONNX form: {'; '.join(known)}" if known else "with no ONNX form"


def refusal_of(error: UnsupportedLowering, layers: Set[str]) -> UnsupportedOperator:
    """The error for an operator that kilnx supports, but not as it is used here."""
    return refusal([(error.node, error.operator)], layers, str(error))


def refuse_opaque(graph_def: Any, layers: Set[str]) -> None:
    """Raise ``UnsupportedOperator`` if the traced graph contains opaque programs."""
    nodes = [*graph_def.node]
    nodes += [node for function in graph_def.library.function for node in function.node_def]
    opaque = [(node.name, node.op) for node in nodes if node.op in _OPAQUE]
    if opaque:
        raise refusal(opaque, layers)


def refuse_unsupported(graph: Any, layers: Set[str]) -> None:
    """Raise ``UnsupportedOperator`` if tf2onnx's ``graph`` has an operator that ONNX lacks.

    tf2onnx logs an unsupported operator, but writes it anyway. Nodes that its handlers replaced
    and left behind are deleted first.
    """
    import onnx.defs

    unsupported: list[tuple[str, str]] = []
    pending = [graph]
    while pending:
        current = pending.pop()
        current.delete_unused_nodes(current.outputs)
        for node in current.get_nodes():
            pending.extend((node.get_body_graphs() or {}).values())
            if node.is_graph_input() or node.is_const():
                continue
            if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.type):
                unsupported.append((node.name, node.type))
    if unsupported:
        raise refusal(unsupported, layers)
