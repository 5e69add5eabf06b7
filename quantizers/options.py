"""What a caller can choose about the quantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from quantizers.qdq_form import FORMS, QdqForm
from runtimes.targets import Int8Form

if TYPE_CHECKING:
    from runtimes.costs import Costs

Rounding = Literal["nearest", "in turn", "learned"]
TargetCpu = Literal["any", "vnni"]
Prefer = Literal["balanced", "speed", "size"]
"""What makes a candidate better: faster or else smaller and no slower; faster; smaller."""


@dataclass(frozen=True)
class QuantizeOptions:
    """Choices that ``quantize_model`` obeys.

    ``keep_float``: names of nodes that stay in float. ``bias_correction``: move biases so that
    rounding leaves the mean of every channel where it was. ``equalize`` channels of unequal
    range, and ``choose_ranges`` by the error they cause instead of covering everything: both are
    tried and kept where the model gets better by it. ``rounding`` of weights: to the nearest
    code, column by column so that errors cancel, or learned (slow). ``measure``: weigh
    every operator in INT8 and in float at the batch sizes ``batches``, by ``costs`` (None: those
    of this machine), and return to float what is faster there, and what costs more than
    ``min_sqnr`` (dB) and ``min_agreement`` (0 … 1) allow on the calibration data.
    ``precisions``: what an earlier report decided, by node name, in
    place of measuring. ``target_cpu``: "any" keeps
    16-bit sums from saturating on CPUs without VNNI, "vnni" does without. ``batch_size``: most
    samples of one calibration run. ``memory_bytes``: most that the activations of one
    calibration run may take; larger ones are observed in several passes over the data.
    ``threads``: of the calibration runs (None: ONNX Runtime's choice). ``prefer`` "size" leaves in
    INT8 what is slower so on this machine: the file is for another one, or for a small disk.
    ``form``: what the target's INT8 may hold, by default what ONNX Runtime's may.
    ``noise_counts``: without, what is measured is the fastest mixture, however wrong its results.
    ``workers``: processes that share what can be shared without changing the result; ``cluster``:
    address of a Dask scheduler whose workers share it instead.
    """

    keep_float: frozenset[str] = frozenset()
    bias_correction: bool = True
    equalize: bool = True
    choose_ranges: bool = True
    rounding: Rounding = "in turn"
    target_cpu: TargetCpu = "any"
    measure: bool = False
    batches: tuple[int, ...] = (1,)
    min_sqnr: float = 20.0
    min_agreement: float = 0.99
    precisions: Mapping[str, str] | None = None
    batch_size: int = 32
    memory_bytes: int = 256 * 2**20
    threads: int | None = None
    prefer: Prefer = "balanced"
    noise_counts: bool = True
    form: Int8Form = field(default_factory=Int8Form)
    costs: Costs | None = field(default=None, compare=False)
    workers: int = field(default=1, compare=False)
    cluster: str | None = field(default=None, compare=False)

    @property
    def qdq(self) -> QdqForm:
        """What the engine that the file is for makes of Q/DQ; where it stands follows from that."""
        return FORMS[self.form.engine]


def with_effort(options: QuantizeOptions, effort: str) -> QuantizeOptions:
    """``options`` at an effort: "low" (nothing is tried twice), "default" or "high".

    Low rounds to the nearest and repairs nothing but biases; high learns the rounding.
    """
    if effort == "low":
        return replace(options, equalize=False, choose_ranges=False, rounding="nearest")
    if effort == "high":
        return replace(options, rounding="learned")
    if effort != "default":
        raise ValueError(f"effort must be low, default or high, not {effort!r}")
    return options


DEFAULT_OPTIONS = QuantizeOptions()
"""No wishes."""
