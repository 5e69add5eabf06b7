"""What ``check`` found."""

from __future__ import annotations

from dataclasses import dataclass

from runtimes.defects import Defect
from runtimes.engines.placement import Placement
from runtimes.parity.layers.report import LayersReport
from runtimes.parity.output_error import OutputParity
from runtimes.parity.stress_report import StressReport
from runtimes.parity.verdict import UNSURE, MetricParity
from runtimes.readable import ReadableReport


@dataclass(frozen=True)
class ParityReport(ReadableReport):
    """The verdict and what it rests on; ``layers`` where they were asked for.

    ``verdict`` is passed, failed, or that there are too few samples to tell: then ``passed`` goes
    by the drop as it was measured. ``placements``: where the candidate's nodes ran. ``defects``:
    what failed by kilnx' own fault and decides nothing. ``stress``: the same on perturbed samples;
    None where they were not looked at.
    """

    passed: bool
    reason: str
    reference: str
    candidate: str
    samples: int
    outputs: tuple[OutputParity, ...]
    metrics: tuple[MetricParity, ...]
    notes: tuple[str, ...]
    verdict: str = ""
    placements: tuple[Placement, ...] = ()
    layers: LayersReport | None = None
    defects: tuple[Defect, ...] = ()
    stress: StressReport | None = None

    def headline(self) -> str:
        """The verdict and its reason."""
        verdict = "passed" if self.passed else "FAILED"
        if self.verdict == UNSURE:
            verdict += f" ({UNSURE})"
        return f"{verdict}: {self.reason}"

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells an output and provider, for a table."""
        rows = []
        for output in self.outputs:
            agreement, sqnr = output.agreement, output.sqnr_db
            rows.append(
                {
                    "output": output.output,
                    "provider": output.provider,
                    "max error": f"{output.max_abs_error:.3g}",
                    "mean error": f"{output.mean_abs_error:.3g}",
                    "relative error": f"{output.max_relative_error:.3g}",
                    "SQNR": "–" if sqnr is None else f"{sqnr:.1f} dB",
                    "agreement": "–" if agreement is None else f"{agreement:.2%}",
                    "× rounding noise": _times(output),
                }
            )
        return rows


def _times(output: OutputParity) -> str:
    if output.noise is None or output.problem:
        return "–"
    return f"{output.max_abs_error / output.noise if output.noise else 0.0:.2g}×"
