"""The tests of one model: what was seen goes in, evidence by group comes out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.monitor.layout import Block, Group
from runtimes.monitor.policy import Policy
from runtimes.monitor.reference import Reference, shares_of
from runtimes.monitor.seen import GroupBinning, Seen, padded
from runtimes.monitor.sequential import SequentialTest, null_of

REFERENCE_SHARE = 0.2
"""Of α that goes to the reference's own uncertainty; the tests share the rest."""


class Watched:
    """One group: how its features are measured, their test, and what the reference says."""

    def __init__(self, group: Group, reference: Reference, alpha: float, tolerance: float) -> None:
        pairs = reference.blocks([group])
        self.group = group
        self.binning = GroupBinning(group, [block for block, _ in pairs])
        self.features: list[tuple[Block, int]] = [
            (block, place) for block, _ in pairs for place in range(len(block.names))
        ]
        bins, samples = self.binning.bins, reference.samples[group]
        shares = [shares_of(counts, samples, block.unit) for block, counts in pairs]
        harmless = [one.harmless(part) for (one, _), part in zip(pairs, shares, strict=True)]
        self._shares = np.concatenate([padded(one, bins) for one in shares])
        used = np.zeros(self._shares.shape, bool)
        for row, (block, place) in enumerate(self.features):
            used[row, block.used_bins(place)] = True
        null = null_of(
            self._shares,
            used,
            np.concatenate([padded(one, bins) for one in harmless]) & used,
            samples=samples,
            tolerance=tolerance,
            risk=alpha * REFERENCE_SHARE,
        )
        self.test = SequentialTest(null, alpha * (1 - REFERENCE_SHARE), _weights(self.features))

    def measure(self, seen: Seen, starts: Array) -> Array | None:
        """What the test takes of some requests, whose first samples stand at ``starts``.

        None where a tensor was not measured. The samples of a request are averaged.
        """
        shares = self.binning.shares(seen)
        if shares is None or len(starts) == len(shares):
            return shares
        lengths = np.diff([*starts, len(shares)])
        return np.asarray(np.add.reduceat(shares, starts, axis=0) / lengths[:, None, None])

    def to_dict(self) -> dict[str, Any]:
        """The evidence, as plain JSON values."""
        evidence = self.test.evidence()
        return {
            "alpha": evidence.alpha,
            "threshold": evidence.threshold,
            "wealth": evidence.wealth,
            "peak": evidence.peak,
            "evidence": _share(math.log(max(evidence.wealth, 1.0)), evidence.threshold),
            "observations": evidence.observations,
            "first_alarm": evidence.first_alarm,
            "since": evidence.since,
            "features": [self._feature(place, log) for place, log in evidence.leading],
        }

    def _feature(self, place: int, log: float) -> dict[str, Any]:
        block, row = self.features[place]
        expected, recent = self._shares[place], self.test.recent(place)
        worst = int((recent - expected)[: block.bins].argmax())
        return {
            "feature": block.names[row],
            "wealth": float(np.exp(min(log, 700.0))),
            "evidence": _share(log, 1 / self.test.alpha),
            "bin": block.describe(row, worst),
            "expected": float(expected[worst]),
            "recent": float(recent[worst]),
            "distance": float(np.maximum(recent - expected, 0.0).sum()),
        }


def _share(log: float, threshold: float) -> float:
    """How much of the evidence for an alarm is there, 0 to 1."""
    return float(min(1.0, max(0.0, log / math.log(threshold))))


def watch(reference: Reference, policy: Policy) -> dict[Group, Watched]:
    """The groups that a reference and a policy have, with α shared evenly among them."""
    groups = [
        group
        for group in policy.tested()
        if reference.blocks([group]) and reference.samples.get(group, 0) > 0
    ]
    alpha = policy.alpha / max(1, len(groups))
    return {group: Watched(group, reference, alpha, policy.tolerance[group]) for group in groups}


def _weights(features: list[tuple[Block, int]]) -> Array:
    """Every block has the same weight, however many features it has."""
    sizes = [len(block.names) for block, _ in features]
    return 1 / np.array(sizes, np.float64)
