"""Keras to ONNX, graph passes, the pipeline and the command line.

Names are imported on first use: a command that needs one of them should not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runtimes.moved import say_where_modules_moved

if TYPE_CHECKING:
    from converter.compression.compress import compress
    from converter.compression.dedupe import dedupe
    from converter.compression.prune import prune
    from converter.export.convert import convert

__all__ = ["compress", "convert", "dedupe", "prune"]

_HOME = {
    "convert": "converter.export.convert",
    "compress": "converter.compression.compress",
    "dedupe": "converter.compression.dedupe",
    "prune": "converter.compression.prune",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


say_where_modules_moved()
