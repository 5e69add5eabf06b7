"""Structured pruning on the graph: which channels go together, which may go, what repairs it.

Names are imported on first use, as in ``converter``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimes.lazy_names import lazy_names

if TYPE_CHECKING:
    from converter.pruning.model import Pruned, prune_model
    from converter.pruning.prepare import PruneOptions
    from converter.pruning.report import PruningReport

__all__ = ["PruneOptions", "Pruned", "PruningReport", "prune_model"]

_HOME = {
    "Pruned": "converter.pruning.model",
    "PruneOptions": "converter.pruning.prepare",
    "prune_model": "converter.pruning.model",
    "PruningReport": "converter.pruning.report",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
