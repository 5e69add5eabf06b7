"""What is looked at, and into which bins it falls: the axes of the histograms, apart from counts.

A layout is fixed once and shipped; counts of equal layouts add up, counts of others do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from runtimes.base import Array

FORMAT, VERSION = "kilnx-reference", 1

Group = Literal["inputs", "outputs", "saturation", "shadow"]
"""What a histogram tells of: what comes in, what goes out, how often activations reach the ends of
their INT8 ranges, and how far the answers lie from fp32's."""

GROUPS: tuple[Group, ...] = get_args(Group)

Form = Literal[
    "columns",
    "pixels",
    "image",
    "steps",
    "changes",
    "tokens",
    "classes",
    "score",
    "ends",
    "disagreement",
    "noise",
]
"""How the values of a tensor become those of features, see ``runtimes.monitor.forms``."""

FORMS: tuple[Form, ...] = get_args(Form)

UNIT = 65_536
"""A sample that falls into several bins (pixels, tokens) counts in shares of so many parts."""

_SHARED: frozenset[Form] = frozenset(
    ("pixels", "steps", "tokens", "classes", "score", "disagreement")
)
_ONE_SIDED: frozenset[Form] = frozenset(("ends", "disagreement"))
_MEDIAN, _USUAL = 0.5, 0.9
NOISE_BINS, NOISE_STEP_DB = 2, 3
"""Noise may grow by so many bins of so many decibels: 6 dB are twice the amplitude."""


@dataclass(frozen=True)
class Block:
    """Features of one tensor that are measured together.

    Attributes:
        group: What they tell of.
        tensor: The name of the input, output or activation; empty for all activations.
        form: How they are measured.
        names: What they are called in reports, one each.
        edges: Of each feature, increasing: bin i holds what lies above i of them. What is not
            finite has a bin of its own, the last one.
        categories: In place of edges, for indices, classes and strings: those that have a bin of
            their own, sorted; all others share the last one.
    """

    group: Group
    tensor: str
    form: Form
    names: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...] = ()
    categories: tuple[int | str, ...] = ()

    @property
    def bins(self) -> int:
        """Bins of the feature that has most."""
        if not self.edges:
            return len(self.categories) + 1
        return max(map(len, self.edges)) + 2

    @property
    def unit(self) -> int:
        """What a sample counts."""
        return UNIT if self.form in _SHARED else 1

    def harmless(self, shares: Array) -> Array:
        """Bins ``[features, bins]`` of which any share is fine: less of it is no drift.

        Of saturation and disagreement those up to the reference's median; of noise those up to
        twice the amplitude of what nine tenths of the reference have.
        """
        before = np.cumsum(shares, axis=1) - shares
        if self.form == "noise":
            free = before < _USUAL
            for _ in range(NOISE_BINS):
                free[:, 1:] |= free[:, :-1].copy()
            return free
        return np.asarray((before < _MEDIAN) & (self.form in _ONE_SIDED))

    def used_bins(self, feature: int) -> list[int]:
        """The bins that a feature can fall into."""
        if not self.edges:
            return list(range(self.bins))
        return [*range(len(self.edges[feature]) + 1), self.bins - 1]

    def describe(self, feature: int, place: int) -> str:
        """A bin in words, for reports."""
        if not self.edges:
            known = place < len(self.categories)
            return repr(self.categories[place]) if known else "any other"
        edges = self.edges[feature]
        if place == self.bins - 1:
            return "not finite"
        if not edges:
            return "any"
        if place == 0:
            return f"at most {edges[0]:.4g}"
        if place >= len(edges):
            return f"above {edges[-1]:.4g}"
        return f"{edges[place - 1]:.4g} to {edges[place]:.4g}"


@dataclass(frozen=True)
class ServedMetric:
    """The metric that the model had on the reference's samples, where they had labels.

    ``name`` as ``runtimes.metrics.metric.open_metric`` takes it.
    """

    name: str
    value: float
    higher_is_better: bool
