"""Sentences that a parity report adds to its verdict."""

from __future__ import annotations

from runtimes.parity.output_error import OutputParity
from runtimes.parity.verdict import MetricParity


def note_of_metric(metric: MetricParity) -> str:
    """What a metric came to that does not judge."""
    return (
        f"{metric.name} {metric.reference:.4f} → {metric.candidate:.4f} on {metric.provider}, "
        "which only informs; --max-drop judges by it"
    )


def note_of_mask(output: OutputParity) -> str:
    """That constants of a mask were compared apart."""
    constants = ", ".join(f"{value:g}" for value in output.mask)
    return (
        f"{output.output}: {output.masked} of {output.elements} elements are masked ({constants}) "
        "and compared apart from the rest"
    )
