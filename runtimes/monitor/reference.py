"""What a model's inputs and answers looked like when it was proven: integer counts, which add up.

The samples must be held out: ranges, and the model itself, were fitted to the calibration and the
training data, which therefore saturate less and disagree less than anything that comes later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.monitor.layout import FORMAT, VERSION, Block, Group, ServedMetric
from runtimes.monitor.read_reference import read_parts


@dataclass(frozen=True)
class Reference:
    """Histograms of held-out samples.

    Attributes:
        layout: What was looked at, and the edges of its bins.
        counts: For each block int64 ``[features, bins]``; the counts of a feature sum to
            ``samples`` times the block's unit.
        samples: How many samples each group was measured on.
        metric: The metric on them, where they had labels.
    """

    layout: tuple[Block, ...]
    counts: tuple[Array, ...]
    samples: Mapping[Group, int] = field(default_factory=dict)
    metric: ServedMetric | None = None

    def __post_init__(self) -> None:
        for array in self.counts:
            array.flags.writeable = False

    def merge(self, other: Reference) -> Reference:
        """The counts of both; exact, and so the same in any order.

        Raises ``DataError`` where the layouts differ: counts of other bins do not add up. The
        metric of a merged reference is None: it was measured on neither whole.
        """
        if self.layout != other.layout:
            raise DataError(
                "the two references have different layouts (features or edges), and counts of "
                "other bins do not add up; make the second with layout= of the first"
            )
        return Reference(
            self.layout,
            tuple(one + two for one, two in zip(self.counts, other.counts, strict=True)),
            {group: count + other.samples[group] for group, count in self.samples.items()},
        )

    def with_metric(self, metric: ServedMetric | None) -> Reference:
        """The same counts besides a metric."""
        return replace(self, metric=metric)

    def blocks(self, groups: Sequence[Group]) -> list[tuple[Block, Array]]:
        """The blocks of some groups, each with its counts."""
        pairs = zip(self.layout, self.counts, strict=True)
        return [(block, counts) for block, counts in pairs if block.group in groups]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; ``from_json`` reads them."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "samples": dict(self.samples),
            "blocks": [
                {
                    "group": block.group,
                    "tensor": block.tensor,
                    "form": block.form,
                    "names": list(block.names),
                    "edges": [list(edges) for edges in block.edges],
                    "categories": list(block.categories),
                    "counts": counts.tolist(),
                }
                for block, counts in zip(self.layout, self.counts, strict=True)
            ],
            "metric": None
            if self.metric is None
            else {
                "name": self.metric.name,
                "value": self.metric.value,
                "higher_is_better": self.metric.higher_is_better,
            },
        }

    def to_json(self) -> str:
        """One line of JSON; equal references give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Reference:
        """Read what ``to_json`` wrote, or what someone else did: every size and sum is checked.

        Raises ``DataError`` that says what is wrong and where.
        """
        parts = read_parts(text)
        return cls(parts.layout, parts.counts, parts.samples, parts.metric)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.layout)


def shares_of(counts: Array, samples: int, unit: int) -> Array:
    """Counts as the share of the samples in each bin, float64."""
    return np.asarray(counts / float(max(1, samples) * unit))
