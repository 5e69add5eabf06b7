"""From what was measured to who answers: tests, the alarms that stand, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtimes.monitor.alarms import Alarms
from runtimes.monitor.examine import Measured
from runtimes.monitor.hysteresis import Hysteresis
from runtimes.monitor.layout import Group
from runtimes.monitor.observer import Watched
from runtimes.monitor.policy import Policy


class Decisions:
    """The tests of a model and what follows from them.

    Attributes:
        watched: The groups that have a test.
        uses_fp32: Whether fp32 answers.
    """

    def __init__(
        self,
        watched: Mapping[Group, Watched],
        policy: Policy,
        alarms: Alarms,
        *,
        can_roll_back: bool,
    ) -> None:
        self.watched, self._policy, self._alarms = watched, policy, alarms
        self._can_roll_back = can_roll_back
        self._hysteresis = Hysteresis(policy)
        self.uses_fp32 = False

    def judge(self, measured: Sequence[Measured]) -> bool:
        """Let the tests take what was measured, and act on them; whether the model changes."""
        for group, shares in measured:
            watched = self.watched[group]
            watched.test.update(shares)
            if watched.test.first_alarm is not None:
                evidence = watched.to_dict()
                watched.test.restart()
                if self._hysteresis.alarm(group):
                    action = self._policy.actions[group]
                    self._alarms.add("alarm", group, action=action, evidence=evidence)
            elif self._hysteresis.clean(group, watched.test.observations):
                self._alarms.add("over", group, observations=watched.test.observations)
        return self._decide()

    def come_back(self) -> None:
        """By hand: begin anew with the compressed model."""
        self._hysteresis.come_back()
        for watched in self.watched.values():
            watched.test.restart()
        self._decide(by="hand")

    def suspects(self, climb: float, promise: float) -> bool:
        """Whether some bet of a group without an alarm has won ``climb`` of late, as a log.

        Or promises to win ``promise``.
        """
        tests = [one.test for one in self._quiet()]
        return any(one.climb() > climb or one.promise() > promise for one in tests)

    def is_early(self, observations: int) -> bool:
        """Whether some group without an alarm has seen fewer observations."""
        return any(one.test.observations < observations for one in self._quiet())

    def _quiet(self) -> list[Watched]:
        known = self._hysteresis.standing
        return [one for group, one in self.watched.items() if group not in known]

    def _decide(self, **details: Any) -> bool:
        before, self.uses_fp32 = self.uses_fp32, self._wanted()
        if self.uses_fp32 == before:
            return False
        event = "rollback" if self.uses_fp32 else "back"
        self._alarms.add(event, by_hand_from_now=self._hysteresis.by_hand, **details)
        return True

    def _wanted(self) -> bool:
        return self._hysteresis.uses_fp32 and self._can_roll_back

    def status(self) -> dict[str, Any]:
        """Who answers, which alarms stand, and the evidence of each group."""
        standing = sorted(self._hysteresis.standing)
        state = "compressed"
        if self.uses_fp32:
            state = "fp32 until by hand" if self._hysteresis.by_hand else "fp32"
        return {
            "state": state,
            "uses_fp32": self.uses_fp32,
            "rollbacks": self._hysteresis.rollbacks,
            "standing": standing,
            **{
                group: {**one.to_dict(), "alarm": group in standing}
                for group, one in self.watched.items()
            },
        }

    def notes(self) -> list[str]:
        """What the operator should know."""
        if self._hysteresis.uses_fp32 and not self._can_roll_back:
            return ["the policy rolls back, and there is no fp32 model to roll back to"]
        return []

    def to_dict(self) -> dict[str, Any]:
        """What outlives a restart."""
        return {
            "tests": {group: one.test.to_dict() for group, one in self.watched.items()},
            "hysteresis": self._hysteresis.to_dict(),
        }

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on where ``to_dict`` left off; ``ValueError``, ``KeyError`` or ``TypeError``."""
        for group, one in self.watched.items():
            if group in state["tests"]:
                one.test.take_up(state["tests"][group])
        self._hysteresis.take_up(state["hysteresis"])
        self.uses_fp32 = self._wanted()

    def begin_anew(self) -> None:
        """Forget everything."""
        self._hysteresis.come_back()
        for one in self.watched.values():
            one.test.forget()
        self.uses_fp32 = False
