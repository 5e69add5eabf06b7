"""Passes over the ONNX graph: each simplifies it without changing what it computes.

Names are imported on first use, as in ``converter``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.passes.standard import Optimize, optimize
    from runtimes.onnx_graph.rewrite import Refusal, RewritePass, RewriteResult

__all__ = ["Optimize", "Refusal", "RewritePass", "RewriteResult", "optimize"]

_HOME = {
    "Optimize": "converter.passes.standard",
    "Refusal": "runtimes.onnx_graph.rewrite",
    "RewritePass": "runtimes.onnx_graph.rewrite",
    "RewriteResult": "runtimes.onnx_graph.rewrite",
    "optimize": "converter.passes.standard",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
