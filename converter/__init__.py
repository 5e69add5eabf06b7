"""Keras to ONNX, graph passes, the pipeline and the command line.

Names are imported on first use: a command that needs one of them should not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.conversion import convert
    from converter.pipeline import compress
    from converter.pruning.prune import prune
    from converter.sharing import dedupe

__all__ = ["compress", "convert", "dedupe", "prune"]

_HOME = {
    "convert": "converter.conversion",
    "compress": "converter.pipeline",
    "dedupe": "converter.sharing",
    "prune": "converter.pruning.prune",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
