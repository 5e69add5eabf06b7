"""What the operator, or the bundle, wants done when a model no longer does its job."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from runtimes.errors import DataError
from runtimes.monitor.layout import GROUPS, Group
from runtimes.suggestions import did_you_mean

Action = Literal["ignore", "log", "alarm", "rollback"]
"""``ignore``: no test; ``log``: it is in the status; ``alarm``: the webhook is called, too;
``rollback``: besides, fp32 answers until the stretch is clean."""

_ACTIONS: Mapping[Group, Action] = {
    "inputs": "alarm",
    "outputs": "alarm",
    "saturation": "rollback",
    "shadow": "rollback",
}
_TOLERANCES: Mapping[Group, float] = {
    "inputs": 0.1,
    "outputs": 0.1,
    "saturation": 0.1,
    "shadow": 0.05,
}
_MOST_CLEAN = 10_000_000


@dataclass(frozen=True)
class Policy:
    """Tests, what follows from them, and what watching may cost.

    Attributes:
        alpha: Probability of a false alarm, over all tests and however long they run; see
            docs/monitoring.md for what it assumes.
        actions: What an alarm of each group leads to.
        tolerance: Of each group the change, in total variation, that is no drift.
        budget: Share of the requests' CPU seconds that monitoring may take.
        idle: Share of one core that it may take besides, for servers that are hardly used.
        burst_seconds: CPU seconds that may be saved up, and that a start begins with.
        clean: Observations without an alarm after which an alarm is over. It doubles with each
            rollback.
        most_rollbacks: From this one on fp32 stays until someone says otherwise.
        comes_back: Whether the compressed model comes back by itself at all.
        webhook: Where alarms are posted; only the operator names it.
    """

    alpha: float = 0.01
    actions: Mapping[Group, Action] = field(default_factory=lambda: dict(_ACTIONS))
    tolerance: Mapping[Group, float] = field(default_factory=lambda: dict(_TOLERANCES))
    budget: float = 0.05
    idle: float = 0.01
    burst_seconds: float = 1.0
    clean: int = 200
    most_rollbacks: int = 3
    comes_back: bool = True
    webhook: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "actions", {**_ACTIONS, **self.actions})
        object.__setattr__(self, "tolerance", {**_TOLERANCES, **self.tolerance})
        _between("alpha", self.alpha, 0, 0.5)
        _between("budget", self.budget, 0, 1)
        _between("idle", self.idle, 0, 1)
        _between("burst_seconds", self.burst_seconds, 0, 3600)
        for group, tolerance in self.tolerance.items():
            _known("tolerance", group, GROUPS)
            _between(f"tolerance.{group}", tolerance, 0, 1)
        for group, action in self.actions.items():
            _known("actions", group, GROUPS)
            _known(f"actions.{group}", action, get_args(Action))
        _whole("clean", self.clean, 1, _MOST_CLEAN)
        _whole("most_rollbacks", self.most_rollbacks, 1, 1000)
        if not isinstance(self.comes_back, bool):
            raise DataError(f"the policy's comes_back is {self.comes_back!r}, not true or false")
        if self.webhook is not None:
            _refuse_odd_address(self.webhook)

    @classmethod
    def from_json(cls, document: Any) -> Policy:
        """The policy that a bundle or a file holds; it names no webhook.

        Raises ``DataError`` for members that are unknown or cannot be.
        """
        if not isinstance(document, Mapping):
            raise DataError("the policy is not a JSON object")
        if "webhook" in document:
            raise DataError(
                "the policy names a webhook, and a file may not choose whom the server calls; "
                "give --webhook on the command line"
            )
        known = [one.name for one in fields(cls)]
        for name in document:
            _known("", name, known)
        for name in ("actions", "tolerance"):
            if name in document and not isinstance(document[name], Mapping):
                raise DataError(f"the policy's {name} is not a JSON object")
        return cls(**document)

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        members = {one.name: getattr(self, one.name) for one in fields(self)}
        members.pop("webhook")
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in members.items()
        }

    def tested(self) -> tuple[Group, ...]:
        """The groups that have a test."""
        return tuple(group for group in GROUPS if self.actions[group] != "ignore")


def _known(where: str, name: Any, names: Any) -> None:
    if name not in names:
        what = f"{where} {name!r}" if where else f"member {name!r}"
        near = did_you_mean(str(name), names)
        raise DataError(f"the policy has no {what}{near}; there are {', '.join(names)}")


def _between(name: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low < value <= high:
        raise DataError(f"the policy's {name} is {value!r}, not above {low} and up to {high}")


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DataError(f"the policy's {name} is {value!r}, not an integer from {low} to {high}")


def _refuse_odd_address(address: str) -> None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fits = False
    if not fits:
        raise DataError(f"the webhook {address!r} is no http:// or https:// address")
