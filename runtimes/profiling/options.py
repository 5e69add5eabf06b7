"""What ``profile`` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.engines.elsewhere import Elsewhere


@dataclass(frozen=True)
class ProfileOptions:
    """What ``profile`` measures.

    Attributes:
        provider: Execution provider to measure on.
        batch: Batch sizes.
        data: What ``Dataset.open`` takes; its first samples are the inputs. None: random numbers.
        memory: Whether to measure peak memory too, with a separate process for each model file.
        operators: Whether to break the time down by operator, at the first batch size.
        allow_fallback: Whether nodes may run on a provider other than ``provider``.
        min_time: Seconds for which each batch size is timed.
        max_time: Most seconds per batch size, for slow models or a busy machine.
        device: Where to measure in place of this machine: a ``runtimes.Device``.
    """

    provider: str = "cpu"
    batch: Sequence[int] = (1,)
    data: Any = None
    memory: bool = False
    operators: bool = False
    allow_fallback: bool = False
    min_time: float = 1.0
    max_time: float = 10.0
    device: Elsewhere | None = None
