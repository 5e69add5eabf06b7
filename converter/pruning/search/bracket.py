"""How much the next plan leaves, where other data judge more harshly than those of the search.

What they refuse is followed by plans that leave more, ever faster, until one holds; then by one
that lies between that and the last that was refused, and so on, until both are near to each other.
So what comes out is as far as those data allow, and not as far as some plan that was there before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from converter.pruning.search.chain import SMALLEST_STEP

# What the first plan behind a refused one leaves of that one's cost; the second, this squared. What
# a plan spends falls with about the square of what it leaves, and few are refused for much.
_MORE = 1.12
_MOST_TRIES = 8

NEAR = 0.88
"""Between two plans of which one leaves more than this of the other none is worth its seconds."""


@dataclass(frozen=True)
class Bracket:
    """Shares of the whole model's cost that plans leave: one that was refused, and one that held.

    Either is missing at first. ``tries``: how many plans were judged.
    """

    refused: float = 0.0
    held: float = 1.0
    tries: int = 0
    has_held: bool = False

    def refuses(self, share: float) -> Bracket:
        """The bracket once a plan that leaves ``share`` was refused."""
        return replace(self, refused=share, tries=self.tries + 1)

    def holds(self, share: float) -> Bracket:
        """The bracket once a plan that leaves ``share`` was taken."""
        return replace(self, held=share, tries=self.tries + 1, has_held=True)

    @property
    def wanted(self) -> float | None:
        """What the next plan should leave; None where none is worth its time."""
        if not self.refused or self.tries >= _MOST_TRIES:
            return None
        if self.refused / self.held > NEAR:
            return None
        if self.has_held:
            return math.sqrt(self.refused * self.held)
        wanted = min(self.refused * _MORE**self.tries, SMALLEST_STEP)
        return wanted if self.refused / wanted <= SMALLEST_STEP else None

    def has_between(self, share: float) -> bool:
        """Whether a plan that leaves ``share`` tells something new."""
        return self.refused < share < self.held
