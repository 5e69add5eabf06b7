"""Which nodes stay in float by request: the target's, the user's, or an earlier report's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import onnx_ir as ir

from runtimes.errors import ModelError
from runtimes.targets import Int8Form


def float_in(graph: ir.Graph, form: Int8Form) -> dict[str, str]:
    """The nodes that ``form`` leaves in float, with the reason."""
    found = ((str(node.name), form.float_reason(node)) for node in graph)
    return {name: reason for name, reason in found if reason is not None}


def requested(graph: ir.Graph, names: frozenset[str]) -> dict[str, str]:
    """The nodes that the user wants in float, with that as the reason."""
    have = {str(node.name) for node in graph}
    for name in sorted(names):
        if name not in have:
            close = difflib.get_close_matches(name, have, n=3)
            hint = f"; close to it: {', '.join(map(repr, close))}" if close else ""
            raise ModelError(f"there is no node {name!r} that could be kept in float{hint}")
    return dict.fromkeys(names, "kept in float on request")


def replayed_floats(graph: ir.Graph, precisions: Mapping[str, str] | None) -> dict[str, str]:
    """The nodes that an earlier report left in float, with the reason that it is replayed."""
    if precisions is None:
        return {}
    have = {str(node.name) for node in graph}
    unknown = sorted(set(precisions) - have)
    if unknown:
        raise ModelError(
            f"the decisions are of another model: it has a node {unknown[0]!r}, this one has not"
        )
    floats = [name for name, precision in precisions.items() if precision == "float32"]
    return dict.fromkeys(floats, "as decided in the report that is replayed")
