"""What a caller can choose about the quantization."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuantizeOptions:
    """Choices that ``quantize_model`` obeys.

    ``keep_float``: names of nodes that stay in float. ``bias_correction``: move biases so that
    rounding leaves the mean of every channel where it was. ``batch_size``: most samples of one
    calibration run. ``memory_bytes``: most that the activations of one calibration run may
    take; larger ones are observed in several passes over the data. ``threads``: of the
    calibration runs (None: ONNX Runtime's choice).
    """

    keep_float: frozenset[str] = frozenset()
    bias_correction: bool = True
    batch_size: int = 32
    memory_bytes: int = 256 * 2**20
    threads: int | None = None


DEFAULT_OPTIONS = QuantizeOptions()
"""No wishes."""
