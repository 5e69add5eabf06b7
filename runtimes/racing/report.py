"""What ``race`` found: an entry for every file, engine and number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimes.machine_load import MachineLoad
from runtimes.racing.entry import Entry
from runtimes.racing.table import table_rows
from runtimes.readable import ReadableReport


@dataclass(frozen=True)
class RaceReport(ReadableReport):
    """All entries, the fastest inside the budget first, and the one that is recommended.

    ``recommended`` is its place among ``entries``, None if none is inside the budget. ``judged_by``
    says what the budget is. ``settings`` are the conditions of the measurement, ``load``
    what else kept the machine busy meanwhile.
    """

    reference: str
    entries: tuple[Entry, ...]
    recommended: int | None
    recommendation: str
    judged_by: str
    samples: int
    notes: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    load: MachineLoad = field(default_factory=MachineLoad)

    @property
    def passed(self) -> bool:
        """Whether something is inside the budget."""
        return self.recommended is not None

    @property
    def winner(self) -> Entry | None:
        """The entry that is recommended."""
        return None if self.recommended is None else self.entries[self.recommended]

    def headline(self) -> str:
        """What to ship, and why."""
        return self.recommendation

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells an entry, not wider than 80 columns."""
        return table_rows(self.entries, self.recommended)

    def reasons(self) -> list[str]:
        """Why entries are refused or outside the budget, one line each, the same only once."""
        found: dict[tuple[str, str, str], None] = {}
        for one in self.entries:
            if one.refused is not None:
                found[one.file, one.provider, one.refused] = None
            elif one.failed is not None:
                found[one.file, one.provider, one.failed] = None
            elif not one.in_budget:
                found[one.file, one.provider, f"outside the budget: {one.verdict}"] = None
        return [f"{file} on {provider}: {reason}" for file, provider, reason in found]
