"""Passes over the ONNX graph: each one simplifies it without changing what it computes.

Names are imported on first use, as in ``converter``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimes.lazy_names import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOME)
