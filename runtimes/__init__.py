"""Where models run and are judged: data, runtimes, parity, latency.

Names are imported on first use: a command that needs one of them should not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runtimes.moved import say_where_modules_moved

if TYPE_CHECKING:
    from runtimes.base import Array, Feed, TensorSpec
    from runtimes.data.batches import Batch
    from runtimes.data.dataset import Dataset
    from runtimes.data.image_folder import ImageOptions
    from runtimes.engines.open_runtime import open_runtime
    from runtimes.engines.ort_cuda import CudaOptions
    from runtimes.engines.runtime import Runtime
    from runtimes.errors import (
        BudgetError,
        ConversionError,
        DataError,
        KilnxError,
        ModelError,
        RuntimeUnavailable,
        UnsupportedOperator,
    )
    from runtimes.onnx_files.load import load_model
    from runtimes.onnx_files.load_save import save_model
    from runtimes.options import KerasOptions, RunOptions
    from runtimes.parity.budget import Budget
    from runtimes.parity.check import CheckOptions, check, evaluate
    from runtimes.parity.layers.compare_layers import compare_layers
    from runtimes.parity.layers.report import LayersReport
    from runtimes.parity.report import ParityReport
    from runtimes.profiling.profile import ProfileOptions, ProfileReport, profile
    from runtimes.progress import Progress
    from runtimes.weight_store.shared_sessions import SharedReport, SharedWeights

__all__ = [
    "Array",
    "Batch",
    "Budget",
    "BudgetError",
    "CheckOptions",
    "ConversionError",
    "CudaOptions",
    "DataError",
    "Dataset",
    "Feed",
    "ImageOptions",
    "KerasOptions",
    "KilnxError",
    "LayersReport",
    "ModelError",
    "ParityReport",
    "ProfileOptions",
    "ProfileReport",
    "Progress",
    "RunOptions",
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
    "Budget": "parity.budget",
    "CheckOptions": "parity.check",
    "KerasOptions": "options",
    "ProfileOptions": "profiling.options",
    "RunOptions": "options",
    "Progress": "progress",
    "Array": "base",
    "Feed": "base",
    "Runtime": "engines.runtime",
    "TensorSpec": "base",
    "ParityReport": "parity.report",
    "check": "parity.check",
    "evaluate": "parity.check",
    "Batch": "data.batches",
    "CudaOptions": "engines.ort_cuda",
    "ImageOptions": "data.image_folder",
    "Dataset": "data.dataset",
    "BudgetError": "errors",
    "ConversionError": "errors",
    "DataError": "errors",
    "KilnxError": "errors",
    "ModelError": "errors",
    "RuntimeUnavailable": "errors",
    "UnsupportedOperator": "errors",
    "LayersReport": "parity.layers.report",
    "compare_layers": "parity.layers.compare_layers",
    "load_model": "onnx_files.load",
    "save_model": "onnx_files.load_save",
    "open_runtime": "engines.open_runtime",
    "ProfileReport": "profiling.report",
    "SharedReport": "weight_store.shared_sessions",
    "SharedWeights": "weight_store.shared_sessions",
    "profile": "profiling.profile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


say_where_modules_moved()
