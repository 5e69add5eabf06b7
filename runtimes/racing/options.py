"""What ``race`` measures, and by what it recommends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from runtimes.engines.elsewhere import Elsewhere, checked_device
from runtimes.errors import DataError
from runtimes.suggestions import did_you_mean

Criterion = Literal["latency", "throughput", "memory", "disk"]


@dataclass(frozen=True)
class RaceOptions:
    """What ``race`` measures, and by what it recommends.

    Attributes:
        engines: Providers that race; None: every engine that is installed.
        thread_counts: Numbers of threads that each engine is tried with; None: ``threads`` of the
            run options (1), and all cores.
        large_batch: The batch size at which throughput is measured; latency is at batch 1.
        rank_by: What decides among the entries inside the budget.
        allow_fallback: Whether nodes may run on a provider other than the entry's own.
        launches: How often every entry is started anew.
        min_time: Seconds for which each entry is timed at each batch size.
        max_time: Most seconds of runs for each, which slow models come to.
        patience: Seconds after which an engine that does not answer is given up; a device has a
            patience of its own.
        device: A ``runtimes.Device`` on which to race in place of this machine.
    """

    engines: Sequence[str] | None = None
    thread_counts: Sequence[int] | None = None
    large_batch: int = 32
    rank_by: Criterion = "latency"
    allow_fallback: bool = False
    launches: int = 3
    min_time: float = 1.0
    max_time: float = 10.0
    patience: float = 600.0
    device: Elsewhere | None = None

    def __post_init__(self) -> None:
        checked_device(self.device)
        if self.large_batch < 1 or self.launches < 1:
            raise ValueError("large_batch and launches must be at least 1")
        known = get_args(Criterion)
        if self.rank_by not in known:
            raise DataError(
                f"rank_by={self.rank_by!r}{did_you_mean(self.rank_by, known)}: there are "
                f"{', '.join(known)}"
            )
