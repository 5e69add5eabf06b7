"""Statistics of a model from what a user gives: the files of all shards, or what they made."""

from __future__ import annotations

import os
from collections.abc import Sequence

import onnx_ir as ir

from quantizers.calibration.shard_statistics import ShardStatistics, merge_all
from quantizers.calibration.statistics import Statistics
from quantizers.calibration.statistics_file import read_statistics
from runtimes.errors import DataError
from runtimes.onnx_files.digest import model_digest
from runtimes.version import own_version

StatisticsSource = Statistics | Sequence[str | os.PathLike[str]]
"""Ranges that were collected here, or the files that ``calibrate`` wrote, of all shards."""


def open_statistics(paths: Sequence[str | os.PathLike[str]], model: ir.Model) -> ShardStatistics:
    """What the files say together of ``model``, as ``quantize_model`` takes it.

    Raises ``DataError`` where they are not of this model and version, or lack samples.
    """
    merged = merge_all(map(read_statistics, paths))
    identity = merged.identity
    if identity.kilnx != own_version():
        raise DataError(
            f"the statistics were made by kilnx {identity.kilnx}, and this is {own_version()}; "
            "calibrate and quantize with the same version"
        )
    if identity.model != model_digest(model):
        raise DataError(
            "the statistics are of another model, or of this one for another target; calibrate "
            "the file that is quantized, with the same --target"
        )
    merged.require_whole()
    return merged
