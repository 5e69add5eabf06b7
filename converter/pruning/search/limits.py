"""How far a search may go: counted in plans, so that it goes as far on a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

USUAL_PLANS = 20
"""More plans than a search without limits has been seen to try."""


@dataclass(frozen=True)
class SearchLimits:
    """What ends a search before it ends by itself.

    Attributes:
        plans: Plans that are tried, at most; None: as many as there is something to gain from.
        small_steps: Small steps behind the best plan, at most.
        deadline: What ``clock`` shows when the search stops whatever is left to try. Only a safety:
            where it strikes, the same command may find something else the next time.
        clock: Seconds that pass.
    """

    plans: int | None = None
    small_steps: int = 4
    deadline: float | None = None
    clock: Callable[[], float] = time.monotonic

    def stop_after(self, tried: int) -> str:
        """Why a search stops that has tried so many plans; empty where it goes on."""
        if self.plans is not None and tried >= self.plans:
            return "plans"
        if tried and self.deadline is not None and self.clock() > self.deadline:
            return "clock"
        return ""


NO_LIMITS = SearchLimits()
