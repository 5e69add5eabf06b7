"""Static INT8 quantization in Q/DQ form on the ONNX graph, and training of what was compressed.

Names are imported on first use: a command that needs one of them should not pay for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimes.lazy_names import lazy_names

if TYPE_CHECKING:
    from converter.compression.quantize import QuantizeFileOptions, quantize
    from converter.compression.trainable.pruned_model import PrunedModel
    from converter.compression.trainable.quantized_model import QuantizedModel
    from converter.compression.trainable.shared_model import SharedModel
    from quantizers.calibration.statistics import Statistics, collect_statistics
    from quantizers.options import QuantizeOptions
    from quantizers.report import QuantizationReport
    from quantizers.static import quantize_model
    from quantizers.training.keras_model import GraphModel

__all__ = [
    "GraphModel",
    "PrunedModel",
    "QuantizationReport",
    "QuantizeFileOptions",
    "QuantizeOptions",
    "QuantizedModel",
    "SharedModel",
    "Statistics",
    "collect_statistics",
    "quantize",
    "quantize_model",
]

_HOME = {
    "GraphModel": "quantizers.training.keras_model",
    "PrunedModel": "converter.compression.trainable.pruned_model",
    "QuantizedModel": "converter.compression.trainable.quantized_model",
    "SharedModel": "converter.compression.trainable.shared_model",
    "QuantizeFileOptions": "converter.compression.quantize",
    "quantize": "converter.compression.quantize",
    "quantize_model": "quantizers.static",
    "QuantizeOptions": "quantizers.options",
    "QuantizationReport": "quantizers.report",
    "Statistics": "quantizers.calibration.statistics",
    "collect_statistics": "quantizers.calibration.statistics",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
