"""How a long call reports its progress."""

from __future__ import annotations

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
