"""Structured pruning on the graph: which channels go together, which may go, what repairs it.

Names are imported on first use, as in ``converter``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.pruning.model import Pruned, PruneOptions, prune_model
    from converter.pruning.report import PruningReport

__all__ = ["PruneOptions", "Pruned", "PruningReport", "prune_model"]

_HOME = {
    "Pruned": "converter.pruning.model",
    "PruneOptions": "converter.pruning.model",
    "prune_model": "converter.pruning.model",
    "PruningReport": "converter.pruning.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
