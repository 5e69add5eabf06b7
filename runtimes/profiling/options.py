"""What ``profile`` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProfileOptions:
    """What ``profile`` measures.

    Attributes:
        provider: Execution provider to measure on.
        batch: Batch sizes.
        data: What ``Dataset.open`` takes: inputs are its first samples; None: random numbers.
        memory: Whether peak memory is measured too, each model file in a process of its own.
        operators: Whether to tell where the time goes, operator by operator, at the first batch.
        allow_fallback: Whether nodes may run elsewhere than on ``provider``.
        min_time: Seconds that each batch size is timed for.
        max_time: Seconds at most, for slow models or on a busy machine.
    """

    provider: str = "cpu"
    batch: Sequence[int] = (1,)
    data: Any = None
    memory: bool = False
    operators: bool = False
    allow_fallback: bool = False
    min_time: float = 1.0
    max_time: float = 10.0
