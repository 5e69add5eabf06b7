"""What a caller can choose about the quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rounding = Literal["nearest", "in turn", "learned"]
TargetCpu = Literal["any", "vnni"]


@dataclass(frozen=True)
class QuantizeOptions:
    """Choices that ``quantize_model`` obeys.

    ``keep_float``: names of nodes that stay in float. ``bias_correction``: move biases so that
    rounding leaves the mean of every channel where it was. ``equalize`` channels of unequal
    range, and ``choose_ranges`` by the error they cause instead of covering everything: both are
    tried and kept where the model gets better by it. ``rounding`` of weights: to the nearest
    code, column by column so that errors cancel, or learned (slow). ``target_cpu``: "any" keeps
    16-bit sums from saturating on CPUs without VNNI, "vnni" does without. ``batch_size``: most
    samples of one calibration run. ``memory_bytes``: most that the activations of one
    calibration run may take; larger ones are observed in several passes over the data.
    ``threads``: of the calibration runs (None: ONNX Runtime's choice).
    """

    keep_float: frozenset[str] = frozenset()
    bias_correction: bool = True
    equalize: bool = True
    choose_ranges: bool = True
    rounding: Rounding = "in turn"
    target_cpu: TargetCpu = "any"
    batch_size: int = 32
    memory_bytes: int = 256 * 2**20
    threads: int | None = None


DEFAULT_OPTIONS = QuantizeOptions()
"""No wishes."""
