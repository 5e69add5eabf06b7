"""What happened: a bounded list of events, newest last, some of which are posted."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runtimes.monitor.layout import Group
from runtimes.monitor.policy import Policy
from runtimes.monitor.webhook import Webhook

_KEPT = 100


class Alarms:
    """Events of one model: alarms, their ends, rollbacks and comebacks."""

    def __init__(self, name: str, version: str, policy: Policy) -> None:
        self._model = {"model": name, "version": version}
        self._policy = policy
        self.webhook = Webhook(policy.webhook) if policy.webhook else None
        self.events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self.count = 0

    def add(self, event: str, group: Group | None = None, **details: Any) -> None:
        """Note an event; post it where the policy says alarm or rollback, and changes of state."""
        found = {
            "event": event,
            **self._model,
            "group": group,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **details,
        }
        self.events.append(found)
        self.count += event == "alarm"
        told = group is None or self._policy.actions[group] in ("alarm", "rollback")
        if self.webhook is not None and told:
            self.webhook.post(found)

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on with what was saved; ``ValueError``, ``KeyError`` or ``TypeError``."""
        events = [dict(one) for one in state["events"][-_KEPT:]]
        self.count = int(state["count"])
        self.events.extend(events)

    def begin_anew(self) -> None:
        """Forget what happened."""
        self.events.clear()
        self.count = 0

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"count": self.count, "events": list(self.events)}

    def close(self) -> None:
        """Let the webhook deliver what it still has."""
        if self.webhook is not None:
            self.webhook.close()
