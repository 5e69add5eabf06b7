"""What ``drift`` found, as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtimes.json_values import plain
from runtimes.monitor.layout import Group

_WORTH_SHOWING = 0.5  # wealth of a feature below which it has nothing to say
_WHAT = {
    "inputs": "what comes in",
    "outputs": "what the model answers",
    "saturation": "INT8 ranges",
    "shadow": "difference from fp32",
}


@dataclass(frozen=True)
class GroupDrift:
    """One group's evidence, as ``Watched.to_dict`` gives it."""

    group: Group
    evidence: dict[str, Any]

    @property
    def alarm(self) -> bool:
        """Whether its test has alarmed."""
        return self.evidence["first_alarm"] is not None

    def rows(self) -> list[dict[str, str]]:
        """The features that have most to say: what was expected and what was found."""
        features = self.evidence["features"]
        shown = [one for one in features if one["wealth"] > _WORTH_SHOWING] or features[:1]
        return [self._row(one, first=place == 0) for place, one in enumerate(shown)]

    def _row(self, feature: dict[str, Any], *, first: bool) -> dict[str, str]:
        return {
            "feature": feature["feature"],
            "group": self.group,
            "evidence": f"{feature['wealth']:.3g}",
            "value": feature["bin"],
            "expected": f"{feature['expected']:.1%}",
            "of late": f"{feature['recent']:.1%}",
            "distance": f"{feature['distance']:.2f}",
            "since sample": str(self.evidence["since"]) if first and self.alarm else "",
        }


@dataclass(frozen=True)
class DriftReport:
    """Whether data look like a reference.

    Attributes:
        data: Where the samples come from.
        samples: How many there were.
        alpha: The probability of a false alarm over all groups.
        groups: What was tested.
        untested: Groups of the reference that could not be, for want of a model.
    """

    data: str
    samples: int
    alpha: float
    groups: tuple[GroupDrift, ...]
    untested: tuple[Group, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no test has alarmed."""
        return not any(one.alarm for one in self.groups)

    def headline(self) -> str:
        """The verdict in one line."""
        if self.passed:
            return (
                f"no drift in {self.samples} samples of {self.data} "
                f"(false alarms: at most {self.alpha:.2%})"
            )
        found = [
            f"{_WHAT[one.group]} ({one.group}) at sample {one.evidence['first_alarm']}"
            for one in self.groups
            if one.alarm
        ]
        return f"drift in {self.data}: {'; '.join(found)}"

    def rows(self) -> list[dict[str, str]]:
        """A table of the features that have most to say."""
        return [row for one in self.groups for row in one.rows()]

    def notes(self) -> list[str]:
        """What the user should know."""
        if not self.untested:
            return []
        return [f"not tested, for that takes the models: {', '.join(self.untested)}"]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = {one.group: {**one.evidence, "alarm": one.alarm} for one in self.groups}
        return {
            "passed": self.passed,
            "data": self.data,
            "samples": self.samples,
            "alpha": self.alpha,
            "groups": plain(found),
            "untested": list(self.untested),
        }
