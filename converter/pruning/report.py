"""What pruning did, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from converter.pruning.exact.dead_channels import Removed
from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.search.cost import Cost
from runtimes.defects import Defect
from runtimes.readable import ReadableReport
from runtimes.targets import DEFAULT_TARGET


@dataclass(frozen=True)
class GroupReport:
    """Channels that only go together with equal places of other layers.

    ``layers`` are the Keras layers (or nodes) that make them, ``before`` and ``after`` how many
    there were and are, ``closed`` how many have to stay, for ``closed_reason``.
    """

    layers: tuple[str, ...]
    before: int
    after: int
    closed: int
    closed_reason: str | None


@dataclass(frozen=True)
class TriedReport:
    """A plan that was tried on data held out: what it leaves, and whether the budget allowed it.

    ``share`` is what it leaves of the resource that was saved on, 0 … 1.
    """

    macs: int
    parameters: int
    share: float
    drop: float | None
    agreement: float | None
    passed: bool
    reason: str


@dataclass(frozen=True)
class Schooling:
    """How a plan becomes a model: the steps of each round of training, refitted with all effort?"""

    rounds: tuple[int, ...]
    refitted: bool = False


@dataclass(frozen=True)
class TrainingReport:
    """How what a plan leaves was trained.

    ``asked``: steps of training; ``steps``: after how many of them it was best; ``before`` and
    ``after``: squared error of the outputs on samples held out, relative to their variance;
    ``refitted``: with all effort before that. ``rounds``: what ``asked`` is the sum of; each round
    goes on with what the one before it made.
    """

    asked: int
    steps: int
    before: float
    after: float
    refitted: bool = False
    reason: str = ""
    rounds: tuple[int, ...] = ()


@dataclass(frozen=True)
class PruningReport(ReadableReport):
    """The outcome of a pruning.

    ``kept``: whether channels went that the results depend on; ``reached``: whether the target that
    was asked for is met. ``exact`` went without changing the results, in any case. ``plan`` is
    the decision: how many open units stay of the group that a node makes. Multiply-adds are those
    of one sample. ``parity`` and ``latency`` are reports of ``runtimes.check`` and
    ``runtimes.profile`` as dictionaries, ``None`` where the caller judges by itself.
    ``stopped``: what ended the search early, ``plans`` (as many as were allowed) or ``clock``.
    ``defects``: what failed by kilnx' own fault and was left out. ``training``: None where nothing
    was trained. ``ships_on``: the runtime that it is for, in JSON ``target``.
    """

    kept: bool
    reached: bool
    reason: str
    exact: tuple[Removed, ...]
    groups: tuple[GroupReport, ...]
    plan: Mapping[str, int]
    tried: tuple[TriedReport, ...]
    before: Cost | None
    after: Cost | None
    parity: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    stopped: str = ""
    defects: tuple[Defect, ...] = ()
    training: TrainingReport | None = None
    ships_on: str = DEFAULT_TARGET

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        found = asdict(self)
        target = found.pop("ships_on")
        return {
            **found,
            "target": target,
            "exact": [asdict(item) for item in self.exact],
            "groups": [asdict(group) for group in self.groups],
            "plan": dict(self.plan),
            "tried": [asdict(one) for one in self.tried],
            "notes": list(self.notes),
            "defects": [defect.to_dict() for defect in self.defects],
        }

    def headline(self) -> str:
        """Whether channels went, and why."""
        return f"{'pruned' if self.kept else 'not pruned'}: {self.reason}"

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells a group, for a table."""
        return [
            {
                "layers": ", ".join(group.layers),
                "channels": str(group.before),
                "left": str(group.after),
                "stays because": group.closed_reason or "",
            }
            for group in self.groups
        ]


def report_groups(dependencies: Dependencies, kept: Selection) -> tuple[GroupReport, ...]:
    """What became of each group."""
    return tuple(
        GroupReport(
            layers=group.layers,
            before=len(group.units) + group.closed_units,
            after=int(np.count_nonzero(kept.units[group.units])) + group.closed_units,
            closed=group.closed_units,
            closed_reason=group.closed_reason,
        )
        for group in dependencies.groups
    )


def describe_exact(removed: Sequence[Removed]) -> str:
    """What went exactly, in words; empty where nothing did."""
    texts = []
    for item in removed:
        where = ", ".join(item.layers)
        if item.kind == "output":
            texts.append(f"output {where}")
        elif item.kind == "unused":
            texts.append(f"unused {where}")
        else:
            texts.append(f"{item.channels} {item.kind} of {where}")
    return "; ".join(texts)
