"""How a long call tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done and, where that can be counted, how much of it is done.

    ``done`` of ``total`` are samples, launches or candidates; ``total`` is None where the end is
    not known. A function of the stage alone is called without counts if it takes no others.
    """

    def __call__(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Tell ``stage``, and ``done`` of ``total``."""


def silent(stage: str, done: int | None = None, total: int | None = None) -> None:
    """Tell nobody."""
