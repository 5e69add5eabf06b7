"""How a long call reports its progress."""

from __future__ import annotations

import time
from typing import Protocol


class Progress(Protocol):
    """Called with the current stage and, where the work can be counted, how much is done.

    ``done`` and ``total`` count samples, launches or candidates; ``total`` is None if it is not
    known. A function that takes only the stage is called without the counts.
    """

    def __call__(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Report ``stage``, with ``done`` out of ``total``."""


def silent(stage: str, done: int | None = None, total: int | None = None) -> None:
    """Do nothing."""


def within(progress: Progress, whole: str) -> Progress:
    """``progress`` that names what a stage is part of: ``prune: ranking channels``."""

    def tell(stage: str, *counts: int | None, **named: int | None) -> None:
        progress(f"{whole}: {stage}", *counts, **named)

    return tell


class Clock:
    """How long all of it and the present stage have taken, and how long the stage may take yet."""

    def __init__(self) -> None:
        self.stage, self.done, self.total = "", 0, 0
        self._start = self._since = time.monotonic()

    def tell(self, stage: str, done: int | None, total: int | None) -> bool:
        """Take note of a call; whether it begins a stage."""
        begins = stage != self.stage
        if begins:
            self.stage, self._since = stage, time.monotonic()
        self.done, self.total = done or 0, total or 0
        return begins

    def elapsed(self) -> float:
        """Seconds since the first call."""
        return time.monotonic() - self._start

    def left(self) -> float | None:
        """Seconds that the stage should still take, by what its counted part took."""
        if not 0 < self.done < self.total:
            return None
        return (time.monotonic() - self._since) / self.done * (self.total - self.done)

    def count(self) -> str:
        """``k of n``, as far as they are known."""
        if not self.done:
            return ""
        return f"{self.done} of {self.total}" if self.total else str(self.done)

    def __str__(self) -> str:
        left = self.left()
        estimate = "" if left is None or left < 1 else f"about {duration(left)} left"
        return ", ".join(part for part in (self.stage, self.count(), estimate) if part)


def duration(seconds: float) -> str:
    """Seconds as people say them: ``0.4 s``, ``43 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
