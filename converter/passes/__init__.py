"""Passes over the ONNX graph: each simplifies it without changing what it computes.

Names are imported on first use, as in ``converter``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.passes.base import Refusal, RewritePass, RewriteResult
    from converter.passes.standard import Optimize, optimize

__all__ = ["Optimize", "Refusal", "RewritePass", "RewriteResult", "optimize"]

_HOME = {
    "Optimize": "converter.passes.standard",
    "Refusal": "converter.passes.base",
    "RewritePass": "converter.passes.base",
    "RewriteResult": "converter.passes.base",
    "optimize": "converter.passes.standard",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
