"""Static INT8 quantization in Q/DQ form on the ONNX graph.

Names are imported on first use: a command that needs one of them should not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runtimes.moved import say_where_modules_moved

if TYPE_CHECKING:
    from converter.compression.quantize import QuantizeFileOptions, quantize
    from quantizers.calibration.statistics import Statistics, collect_statistics
    from quantizers.options import QuantizeOptions
    from quantizers.report import QuantizationReport
    from quantizers.static import quantize_model

__all__ = [
    "QuantizationReport",
    "QuantizeFileOptions",
    "QuantizeOptions",
    "Statistics",
    "collect_statistics",
    "quantize",
    "quantize_model",
]

_HOME = {
    "QuantizeFileOptions": "converter.compression.quantize",
    "quantize": "converter.compression.quantize",
    "quantize_model": "quantizers.static",
    "QuantizeOptions": "quantizers.options",
    "QuantizationReport": "quantizers.report",
    "Statistics": "quantizers.calibration.statistics",
    "collect_statistics": "quantizers.calibration.statistics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__


say_where_modules_moved()
