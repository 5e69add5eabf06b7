"""Is the candidate still the same model as the reference?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OutputParity:
    """How far one output of the candidate is from the reference's, over all samples.

    ``max_relative_error`` is the largest error of a sample relative to the sample's largest
    magnitude. ``sqnr_db`` is 10·log10(Σ reference² / Σ error²), infinite where nothing differs,
    None for outputs that are not floats. ``agreement`` is the share of equal argmax over the last
    axis (of equal values where the output is not a float), None where that means nothing.
    ``problem`` says what cannot be compared: NaN, another shape or dtype, with its place.
    """

    output: str
    provider: str
    max_abs_error: float
    mean_abs_error: float
    max_relative_error: float
    sqnr_db: float | None
    agreement: float | None
    problem: str | None


@dataclass(frozen=True)
class MetricParity:
    """A labelled metric of both models; ``drop`` is how much worse the candidate is."""

    name: str
    provider: str
    reference: float
    candidate: float
    drop: float


@dataclass(frozen=True)
class ParityReport:
    """The verdict and what it rests on."""

    passed: bool
    reason: str
    reference: str
    candidate: str
    samples: int
    outputs: tuple[OutputParity, ...]
    metrics: tuple[MetricParity, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types; a number that is not finite is null."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells an output and a metric, for a table."""
        raise NotImplementedError


def check(
    reference: Any,
    candidate: Any,
    data: Any,
    *,
    metric: str | None = None,
    max_drop: float | None = None,
    providers: Sequence[str] = ("cpu",),
    rtol: float | None = None,
    atol: float | None = None,
    min_agreement: float | None = None,
    min_sqnr: float | None = None,
    batch_size: int = 32,
    threads: int | None = None,
) -> ParityReport:
    """Run both models on the same data and judge whether the candidate may stand for the other.

    ``reference`` and ``candidate`` are what ``open_runtime`` takes, or runtimes that are open;
    ``data`` is what ``Dataset.open`` takes. The candidate runs on each of ``providers``.

    The first rule that applies decides: ``metric`` and ``max_drop`` (in the metric's unit);
    ``rtol``/``atol`` (each element within atol + rtol·|reference|); ``min_agreement`` (0…1)
    and ``min_sqnr`` (dB); else for a float candidate ``verdict.float_tolerance``, for a
    quantized one agreement ≥ 99% and SQNR ≥ 20 dB. NaN or infinity where the reference has none
    and other shapes or dtypes always fail. Raises ``DataError`` for data that do not fit and
    ``ModelError`` where the models have other inputs or outputs.
    """
    raise NotImplementedError


def evaluate(
    model: Any,
    data: Any,
    metric: str,
    *,
    provider: str = "cpu",
    batch_size: int = 32,
    threads: int | None = None,
) -> float:
    """The labelled ``metric`` of ``model`` (or an open runtime) over ``data``.

    Raises ``DataError`` for data without fitting labels and ``ModelError`` where an output is NaN.
    """
    raise NotImplementedError
