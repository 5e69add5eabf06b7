"""Where models run and are judged: data, runtimes, parity, latency.

Names are imported on first use: a command that needs one of them should not pay for all.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtimes.base import Array, Feed, Runtime, TensorSpec
    from runtimes.batches import Batch
    from runtimes.compare import ParityReport, check, evaluate
    from runtimes.cuda import CudaOptions
    from runtimes.dataset import Dataset
    from runtimes.errors import (
        BudgetError,
        ConversionError,
        DataError,
        KilnxError,
        ModelError,
        RuntimeUnavailable,
        UnsupportedOperator,
    )
    from runtimes.images import ImageOptions
    from runtimes.layer_report import LayersReport
    from runtimes.modelfile import load_model, save_model
    from runtimes.open import open_runtime
    from runtimes.profile import ProfileReport, profile
    from runtimes.shared import SharedReport, SharedWeights
    from runtimes.trace import compare_layers

__all__ = [
    "Array",
    "Batch",
    "BudgetError",
    "ConversionError",
    "CudaOptions",
    "DataError",
    "Dataset",
    "Feed",
    "ImageOptions",
    "KilnxError",
    "LayersReport",
    "ModelError",
    "ParityReport",
    "ProfileReport",
    "Runtime",
    "RuntimeUnavailable",
    "SharedReport",
    "SharedWeights",
    "TensorSpec",
    "UnsupportedOperator",
    "check",
    "compare_layers",
    "evaluate",
    "load_model",
    "open_runtime",
    "profile",
    "save_model",
]

_HOME = {
    "Array": "base",
    "Feed": "base",
    "Runtime": "base",
    "TensorSpec": "base",
    "ParityReport": "compare",
    "check": "compare",
    "evaluate": "compare",
    "Batch": "batches",
    "CudaOptions": "cuda",
    "ImageOptions": "images",
    "Dataset": "dataset",
    "BudgetError": "errors",
    "ConversionError": "errors",
    "DataError": "errors",
    "KilnxError": "errors",
    "ModelError": "errors",
    "RuntimeUnavailable": "errors",
    "UnsupportedOperator": "errors",
    "LayersReport": "layer_report",
    "compare_layers": "trace",
    "load_model": "modelfile",
    "save_model": "modelfile",
    "open_runtime": "open",
    "ProfileReport": "profile",
    "SharedReport": "shared",
    "SharedWeights": "shared",
    "profile": "profile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


class _Package(ModuleType):
    """Keeps ``runtimes.profile`` the function.

    Importing the file of that name would bind the module to the name instead.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "profile" and isinstance(value, ModuleType):
            value = value.profile
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
