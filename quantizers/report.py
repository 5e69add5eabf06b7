"""What a quantization did, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from runtimes.defects import Defect
from runtimes.readable import ReadableReport
from runtimes.targets import DEFAULT_TARGET

Precision = Literal["int8", "int8 dynamic", "int8 weights", "float32"]


@dataclass(frozen=True)
class OperatorReport:
    """One operator of the float graph.

    ``fused``: whether ONNX Runtime runs it by an INT8 kernel (None for a float operator).
    ``reason``: why it is float, or which kernel it became part of. ``scale_method``: how the range
    of its output was found. ``weight_levels``: the largest code of its weights, below 127 where
    16-bit sums could saturate. ``sensitivity_db``: SQNR of the model's worst output with this
    operator alone in INT8. ``float_share`` and ``int8_share``: its time as a share of the float
    model's, in either precision; their difference is the gain.
    """

    name: str
    op_type: str
    precision: Precision
    fused: bool | None
    reason: str | None
    scale_method: str | None = None
    weight_levels: int | None = None
    sensitivity_db: float | None = None
    float_share: float | None = None
    int8_share: float | None = None


@dataclass(frozen=True)
class QuantizationReport(ReadableReport):
    """The outcome of a quantization.

    ``kept``: whether the INT8 model is the result; else the float model is, for ``reason``.
    Sizes are bytes of the initializers and, where files were written, of the files.
    ``optimized_operators`` counts the nodes by type in the graph that ONNX Runtime optimized.
    ``ranges``: what calibration saw of each tensor that has a grid of its own. ``parity`` and
    ``latency`` are the reports of ``runtimes.check`` and ``runtimes.profile`` as
    dictionaries (None where the caller judges by itself). ``notes``: what else the user should
    know. ``defects``: what failed by kilnx' own fault and was left out. ``target``: the runtime
    that it is for.
    """

    kept: bool
    reason: str
    operators: tuple[OperatorReport, ...]
    calibration_samples: int
    float_weight_bytes: int
    int8_weight_bytes: int
    optimized_operators: Mapping[str, int]
    ranges: Mapping[str, tuple[float, float]]
    float_bytes: int | None = None
    int8_bytes: int | None = None
    parity: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = ()
    target: str = DEFAULT_TARGET

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        return {
            **asdict(replace(self, operators=(), ranges={}, optimized_operators={})),
            "operators": [asdict(operator) for operator in self.operators],
            "ranges": {name: list(span) for name, span in self.ranges.items()},
            "optimized_operators": dict(self.optimized_operators),
            "notes": list(self.notes),
            "defects": [defect.to_dict() for defect in self.defects],
        }

    def headline(self) -> str:
        """Which model is the result, and why."""
        return f"{'INT8' if self.kept else 'fp32'}: {self.reason}"

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells an operator, for a table."""
        return [
            {
                "operator": operator.name,
                "type": operator.op_type,
                "precision": operator.precision,
                "fused": {True: "yes", False: "no", None: ""}[operator.fused],
                "range": operator.scale_method or "",
                "levels": "" if operator.weight_levels is None else str(operator.weight_levels),
                "SQNR alone": _decibels(operator.sensitivity_db),
                "share of time": _shares(operator.float_share, operator.int8_share),
                "reason": operator.reason or "",
            }
            for operator in self.operators
        ]


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} dB"


def _shares(in_float: float | None, in_int8: float | None) -> str:
    return "" if in_float is None or in_int8 is None else f"{in_float:.1%} → {in_int8:.1%}"
