"""What ``partition`` did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from runtimes.readable import ReadableReport


@dataclass(frozen=True)
class StageRow:
    """One stage: its nodes, predicted microseconds of a run, and bytes.

    ``gives_bytes`` is what it and those before it pass on to those behind it.
    """

    name: str
    device: str
    nodes: int
    microseconds: float
    weight_bytes: int
    gives_bytes: int


@dataclass(frozen=True)
class PartitionReport(ReadableReport):
    """The stages in order; ``microseconds`` is what the kernels of the whole model take.

    ``costs`` names the cost table that decided; ``exact``: see ``PartitionOptions``.
    """

    stages: tuple[StageRow, ...]
    microseconds: float
    exact: bool
    costs: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def slowest(self) -> float:
        """Predicted microseconds of the slowest stage, which sets the pace of all."""
        return max(stage.microseconds for stage in self.stages)

    @property
    def copies_gain(self) -> float:
        """How many times as many requests copies answer, one for each stage, as the stages do."""
        return len(self.stages) * self.slowest / self.microseconds

    def comparison(self) -> str:
        """Stages and copies of the whole model next to each other."""
        count = len(self.stages)
        gain = self.copies_gain
        more = f"{gain:.2f} times as many" if gain >= 1.005 else "as many"
        return (
            f"{count} copies of the whole model answer {more} requests as its {count} stages, "
            "without moving anything between them (by the cost table)"
        )

    def headline(self) -> str:
        """How the stages balance."""
        share = self.slowest / (self.microseconds / len(self.stages)) - 1
        return (
            f"{len(self.stages)} stages; the slowest takes {self.slowest:.0f} µs, "
            f"{max(share, 0):.0%} more than an even share"
        )

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells a stage."""
        return [
            {
                "stage": stage.name,
                "device": stage.device,
                "nodes": str(stage.nodes),
                "µs": f"{stage.microseconds:.0f}",
                "weights": f"{stage.weight_bytes:,}",
                "passes on": f"{stage.gives_bytes:,}",
            }
            for stage in self.stages
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {**asdict(self), "headline": self.headline(), "comparison": self.comparison()}
