"""How fast is a model here, and how much faster than another one?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Latency of one run, milliseconds, over ``runs`` runs; ``throughput`` in samples a second."""

    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    throughput: float


@dataclass(frozen=True)
class BatchProfile:
    """One batch size.

    ``ratio`` is the speed-up over the other model: its median latency over this model's, with
    the 95% bootstrap interval ``ratio_low`` … ``ratio_high``.
    """

    batch: int
    model: Latency
    against: Latency | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


@dataclass(frozen=True)
class ProfileReport:
    """Latency and size of a model, and of the one it was measured against."""

    model: str
    against: str | None
    provider: str
    threads: int | None
    size_bytes: int
    against_size_bytes: int | None
    batches: tuple[BatchProfile, ...]
    notes: tuple[str, ...]

    def faster(self, margin: float = 0.0) -> bool:
        """Whether the model is surely faster, at every batch size, by more than ``margin``.

        Surely: the lower end of the interval of the speed-up lies above 1 + margin.
        """
        raise NotImplementedError

    def slower(self, margin: float = 0.0) -> bool:
        """Whether the model is surely slower, at some batch size, by more than ``margin``."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells a batch size and model, for a table."""
        raise NotImplementedError


def profile(
    model: Any,
    *,
    against: Any = None,
    provider: str = "cpu",
    batch: Sequence[int] = (1,),
    threads: int | None = None,
    data: Any = None,
    min_time: float = 1.0,
    max_time: float = 10.0,
    seed: int = 0,
) -> ProfileReport:
    """Time a model, interleaved with ``against`` where given.

    Both are warmed up, then run in pairs whose order is drawn at random, so that drift of the
    machine's speed hits both alike. Each batch size takes ``min_time`` to ``max_time`` seconds.
    Inputs are the first samples of ``data`` (what ``Dataset.open`` takes), else random numbers
    of ``seed``; dynamic dimensions other than the batch need ``data`` or are set to 1, noted.
    Raises ``ModelError`` where the two take other inputs.
    """
    raise NotImplementedError
