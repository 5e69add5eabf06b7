"""Who answers: the compressed model, or fp32 until a stretch was clean.

An alarm is over when its test, begun anew, has not alarmed for ``clean`` observations. Each
rollback doubles that stretch: a drift too slow to be seen in one stretch is seen in the next,
and the two models do not take turns. After ``most_rollbacks`` only a hand brings the model back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimes.monitor.layout import GROUPS, Group
from runtimes.monitor.policy import Policy


@dataclass
class Hysteresis:
    """Which alarms stand, and since how many clean observations.

    Attributes:
        standing: Groups whose alarm is not over.
        rollbacks: How often fp32 took over since the last time by hand.
        by_hand: Whether only a hand brings the compressed model back.
    """

    policy: Policy
    standing: set[Group] = field(default_factory=set)
    rollbacks: int = 0
    by_hand: bool = False

    @property
    def uses_fp32(self) -> bool:
        """Whether fp32 is to answer."""
        rolled = any(self.policy.actions[group] == "rollback" for group in self.standing)
        return self.by_hand or rolled

    @property
    def stretch(self) -> int:
        """Clean observations that are asked for now."""
        return int(self.policy.clean * 2 ** max(0, self.rollbacks - 1))

    def alarm(self, group: Group) -> bool:
        """Take in an alarm; whether it is a new one."""
        if group in self.standing:
            return False
        before = self.uses_fp32
        self.standing.add(group)
        if self.uses_fp32 and not before:
            self.rollbacks += 1
            limit = self.rollbacks >= self.policy.most_rollbacks
            self.by_hand = limit or not self.policy.comes_back
        return True

    def clean(self, group: Group, observations: int) -> bool:
        """Take in that a test has not alarmed for so long; whether its alarm is over by that."""
        if group not in self.standing or observations < self.stretch:
            return False
        self.standing.discard(group)
        return True

    def come_back(self) -> None:
        """Let the compressed model answer again, and forget how often it did not."""
        self.standing.clear()
        self.rollbacks, self.by_hand = 0, False

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "standing": sorted(self.standing),
            "rollbacks": self.rollbacks,
            "by_hand": self.by_hand,
        }

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on where ``to_dict`` left off; ``ValueError``, ``KeyError`` or ``TypeError``."""
        standing = {group for group in GROUPS if group in state["standing"]}
        rollbacks, by_hand = int(state["rollbacks"]), bool(state["by_hand"])
        if rollbacks < 0:
            raise ValueError("a negative number of rollbacks")
        self.standing, self.rollbacks, self.by_hand = standing, rollbacks, by_hand
