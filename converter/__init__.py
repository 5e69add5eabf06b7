"""Keras to ONNX, graph passes, the pipeline and the command line.

Names are imported on first use: a command that needs one of them should not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runtimes.moved import say_where_modules_moved

if TYPE_CHECKING:
    from converter.compression.compress import CompressOptions, compress
    from converter.compression.dedupe import DedupeOptions, dedupe
    from converter.compression.prune import PruneFileOptions, prune
    from converter.export.convert import ConversionReport, ConvertOptions, convert
    from converter.passes.deduplication.initializers import DedupeReport
    from converter.pruning.report import PruningReport
    from converter.report.report import Report

__all__ = [
    "CompressOptions",
    "ConversionReport",
    "ConvertOptions",
    "DedupeOptions",
    "DedupeReport",
    "PruneFileOptions",
    "PruningReport",
    "Report",
    "compress",
    "convert",
    "dedupe",
    "prune",
]

_HOME = {
    "CompressOptions": "converter.compression.compress",
    "ConvertOptions": "converter.export.convert",
    "DedupeOptions": "converter.compression.dedupe",
    "PruneFileOptions": "converter.compression.prune",
    "ConversionReport": "converter.export.convert",
    "PruningReport": "converter.pruning.report",
    "Report": "converter.report.report",
    "DedupeReport": "converter.passes.deduplication.initializers",
    "convert": "converter.export.convert",
    "compress": "converter.compression.compress",
    "dedupe": "converter.compression.dedupe",
    "prune": "converter.compression.prune",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__


say_where_modules_moved()
