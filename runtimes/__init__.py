"""Running and judging models: data, engines, parity, latency.

Names are imported on first use, so that a command loads only what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimes.lazy_names import lazy_names
from runtimes.moved import say_where_modules_moved

if TYPE_CHECKING:
    from runtimes.agent.device import Device
    from runtimes.base import Array, Feed, TensorSpec
    from runtimes.bundle.bundle import Bundle
    from runtimes.data.batches import Batch
    from runtimes.data.dataset import Dataset
    from runtimes.data.image_options import ImageOptions
    from runtimes.distributed.check_shards import Workers
    from runtimes.engines.open_runtime import open_runtime
    from runtimes.engines.ort_cuda import CudaOptions
    from runtimes.engines.runtime import Runtime
    from runtimes.errors import (
        BudgetError,
        BundleError,
        ConversionError,
        DataError,
        KilnxError,
        ModelError,
        RuntimeUnavailable,
        UnsupportedOperator,
    )
    from runtimes.inspection.inspect import ModelInspection, inspect_model
    from runtimes.onnx_files.load import load_model
    from runtimes.onnx_files.load_save import save_model
    from runtimes.options import KerasOptions, RunOptions
    from runtimes.parity.budget import Budget
    from runtimes.parity.check import check, evaluate
    from runtimes.parity.check_options import CheckOptions
    from runtimes.parity.layers.compare_layers import compare_layers
    from runtimes.parity.layers.report import LayersReport
    from runtimes.parity.report import ParityReport
    from runtimes.parity.shards.compare_files import (
        CompareFiles,
        ShardOptions,
        ShardReport,
        compare_shard,
    )
    from runtimes.profiling.profile import ProfileOptions, ProfileReport, profile
    from runtimes.progress import Progress
    from runtimes.racing.race import RaceOptions, RaceReport, race
    from runtimes.stages.pipeline import Pipeline
    from runtimes.weight_store.shared_sessions import SharedReport, SharedWeights

__all__ = [
    "Array",
    "Batch",
    "Budget",
    "BudgetError",
    "Bundle",
    "BundleError",
    "CheckOptions",
    "CompareFiles",
    "ConversionError",
    "CudaOptions",
    "DataError",
    "Dataset",
    "Device",
    "Feed",
    "ImageOptions",
    "KerasOptions",
    "KilnxError",
    "LayersReport",
    "ModelError",
    "ModelInspection",
    "ParityReport",
    "Pipeline",
    "ProfileOptions",
    "ProfileReport",
    "Progress",
    "RaceOptions",
    "RaceReport",
    "RunOptions",
    "Runtime",
    "RuntimeUnavailable",
    "ShardOptions",
    "ShardReport",
    "SharedReport",
    "SharedWeights",
    "TensorSpec",
    "UnsupportedOperator",
    "Workers",
    "check",
    "compare_layers",
    "compare_shard",
    "evaluate",
    "inspect_model",
    "load_model",
    "open_runtime",
    "profile",
    "race",
    "save_model",
]

_HOME = {
    "Device": "runtimes.agent.device",
    "Budget": "runtimes.parity.budget",
    "CheckOptions": "runtimes.parity.check_options",
    "CompareFiles": "runtimes.parity.shards.compare_files",
    "ShardOptions": "runtimes.parity.shards.compare_files",
    "ShardReport": "runtimes.parity.shards.compare_files",
    "Workers": "runtimes.distributed.check_shards",
    "compare_shard": "runtimes.parity.shards.compare_files",
    "KerasOptions": "runtimes.options",
    "ProfileOptions": "runtimes.profiling.options",
    "RunOptions": "runtimes.options",
    "Progress": "runtimes.progress",
    "Array": "runtimes.base",
    "Feed": "runtimes.base",
    "Runtime": "runtimes.engines.runtime",
    "TensorSpec": "runtimes.base",
    "ParityReport": "runtimes.parity.report",
    "check": "runtimes.parity.check",
    "evaluate": "runtimes.parity.check",
    "Batch": "runtimes.data.batches",
    "CudaOptions": "runtimes.engines.ort_cuda",
    "ImageOptions": "runtimes.data.image_options",
    "Dataset": "runtimes.data.dataset",
    "BudgetError": "runtimes.errors",
    "Bundle": "runtimes.bundle.bundle",
    "BundleError": "runtimes.errors",
    "ConversionError": "runtimes.errors",
    "DataError": "runtimes.errors",
    "KilnxError": "runtimes.errors",
    "ModelError": "runtimes.errors",
    "RuntimeUnavailable": "runtimes.errors",
    "UnsupportedOperator": "runtimes.errors",
    "LayersReport": "runtimes.parity.layers.report",
    "compare_layers": "runtimes.parity.layers.compare_layers",
    "ModelInspection": "runtimes.inspection.inspect",
    "inspect_model": "runtimes.inspection.inspect",
    "load_model": "runtimes.onnx_files.load",
    "save_model": "runtimes.onnx_files.load_save",
    "open_runtime": "runtimes.engines.open_runtime",
    "ProfileReport": "runtimes.profiling.report",
    "SharedReport": "runtimes.weight_store.shared_sessions",
    "SharedWeights": "runtimes.weight_store.shared_sessions",
    "profile": "runtimes.profiling.profile",
    "RaceOptions": "runtimes.racing.options",
    "RaceReport": "runtimes.racing.report",
    "race": "runtimes.racing.race",
    "Pipeline": "runtimes.stages.pipeline",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)

say_where_modules_moved()
