"""Statistics in place of data."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from quantizers.calibration.open_statistics import StatisticsSource, open_statistics
from quantizers.calibration.statistics import Statistics
from runtimes.errors import DataError


def known_beforehand(
    statistics: StatisticsSource | None, reference: ir.Model, data: Any, evaluate_on: Any
) -> tuple[Statistics | None, Any]:
    """The ranges where they are known, and the data that calibrate: given, or kept in files.

    ``reference`` is the graph that quantization starts from. Raises ``DataError`` where files do
    not belong to it, or stand beside data, or without data that judge.
    """
    if isinstance(statistics, Statistics) and data is not None:
        return statistics, data
    if statistics is None and data is not None:
        return None, data
    if statistics is None or isinstance(statistics, Statistics):
        raise DataError("nothing calibrates: give data, or the statistics of all shards")
    if data is not None:
        raise DataError("statistics stand in place of data; give one of them, and --eval to judge")
    if evaluate_on is None:
        raise DataError(
            "statistics hold no samples that judge, as their own were all calibrated on; give "
            "others with --eval"
        )
    merged = open_statistics(statistics, reference)
    return merged.statistics, merged.data()
