"""Keras to ONNX, graph passes, the pipeline and the command line.

Names are imported on first use, so that a command loads only what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimes.lazy_names import lazy_names

if TYPE_CHECKING:
    from converter.compression.calibrate import (
        CalibrateOptions,
        CalibrationReport,
        calibrate,
    )
    from converter.compression.compress import CompressOptions, compress
    from converter.compression.dedupe import DedupeOptions, dedupe
    from converter.compression.prune import PruneFileOptions, prune
    from converter.compression.recover import RecoverOptions, RecoveryReport, recover
    from converter.export.convert import ConversionReport, ConvertOptions, convert
    from converter.packaging.deploy import deploy
    from converter.packaging.options import DeployOptions, DeployReport
    from converter.packaging.package import PackageOptions, PackageReport, package
    from converter.passes.deduplication.initializers import DedupeReport
    from converter.pruning.report import PruningReport
    from converter.report.report import Report
    from runtimes.stages.partition import PartitionOptions, partition
    from runtimes.stages.report import PartitionReport

__all__ = [
    "CalibrateOptions",
    "CalibrationReport",
    "CompressOptions",
    "ConversionReport",
    "ConvertOptions",
    "DedupeOptions",
    "DedupeReport",
    "DeployOptions",
    "DeployReport",
    "PackageOptions",
    "PackageReport",
    "PartitionOptions",
    "PartitionReport",
    "PruneFileOptions",
    "PruningReport",
    "RecoverOptions",
    "RecoveryReport",
    "Report",
    "calibrate",
    "compress",
    "convert",
    "dedupe",
    "deploy",
    "package",
    "partition",
    "prune",
    "recover",
]

_HOME = {
    "CalibrateOptions": "converter.compression.calibrate",
    "CalibrationReport": "converter.compression.calibrate",
    "calibrate": "converter.compression.calibrate",
    "CompressOptions": "converter.compression.compress",
    "ConvertOptions": "converter.export.convert",
    "DedupeOptions": "converter.compression.dedupe",
    "DeployOptions": "converter.packaging.options",
    "DeployReport": "converter.packaging.options",
    "deploy": "converter.packaging.deploy",
    "PackageOptions": "converter.packaging.package",
    "PackageReport": "converter.packaging.package",
    "package": "converter.packaging.package",
    "PartitionOptions": "runtimes.stages.partition",
    "PartitionReport": "runtimes.stages.report",
    "partition": "runtimes.stages.partition",
    "PruneFileOptions": "converter.compression.prune",
    "ConversionReport": "converter.export.convert",
    "PruningReport": "converter.pruning.report",
    "Report": "converter.report.report",
    "DedupeReport": "converter.passes.deduplication.initializers",
    "convert": "converter.export.convert",
    "compress": "converter.compression.compress",
    "dedupe": "converter.compression.dedupe",
    "prune": "converter.compression.prune",
    "RecoverOptions": "converter.compression.recover",
    "RecoveryReport": "converter.compression.recover",
    "recover": "converter.compression.recover",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
