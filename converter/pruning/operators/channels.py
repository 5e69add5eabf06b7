"""Channels by number, and which of them have to go together.

A channel is one position along one axis of a tensor. While the graph is walked every layer
that makes channels gets new numbers for them; operators that only carry channels on carry the
numbers on; operators that tie channels together (an Add of two branches) unify their numbers.
What is left in the end is a partition: a unit is a set of channels that can only be removed
together, a group is a set of units that are alike, such as the filters of one layer.
(DepGraph, https://arxiv.org/abs/2301.12900, finds the same groups by walking dependencies.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Mark = tuple[int, int]


@dataclass(frozen=True)
class Partition:
    """Units and groups, each numbered from 0 in the order in which the graph makes them.

    ``unit_of`` and ``group_of`` are int64 ``[channels]``. ``closed`` maps the units that must
    stay to the first reason why. ``makers`` are the names of the nodes that make the channels of
    each group, in graph order.
    """

    unit_of: IntArray
    group_of: IntArray
    closed: Mapping[int, str]
    makers: tuple[tuple[str, ...], ...]

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.unit_of.max(initial=-1)) + 1


class Channels:
    """Numbers for the channels of one graph, and what was found out about them so far."""

    def __init__(self) -> None:
        self._makers: list[str] = []
        self._counts: list[int] = []
        self._ties: list[tuple[IntArray, IntArray]] = []
        self._closings: list[tuple[IntArray, str]] = []

    def make(self, count: int, maker: str) -> IntArray:
        """Number ``count`` new channels that the node called ``maker`` makes."""
        start = self.count
        self._makers.append(maker)
        self._counts.append(count)
        return np.arange(start, start + count, dtype=np.int64)

    def make_closed(self, count: int, maker: str, reason: str) -> IntArray:
        """Number channels that have to stay: an axis that nobody may cut beside one that may."""
        channels = self.make(count, maker)
        self.close(channels, reason)
        return channels

    @property
    def count(self) -> int:
        """How many channels have numbers so far: the next one gets this number."""
        return sum(self._counts)

    def unify(self, one: IntArray, other: IntArray) -> None:
        """Say that channels at equal places of the two arrays, broadcast, go together.

        Raises ``ValueError`` for arrays that do not broadcast.
        """
        if one is not other:
            left, right = np.broadcast_arrays(one, other)
            self._ties.append((left.reshape(-1), right.reshape(-1)))

    def close(self, channels: IntArray, reason: str) -> None:
        """Say that these channels have to stay."""
        if channels.size:
            self._closings.append((channels.reshape(-1), reason))

    def mark(self) -> Mark:
        """A point in time, for ``said_since``."""
        return len(self._ties), len(self._closings)

    def said_since(self, mark: Mark) -> IntArray:
        """All channels that were tied or closed since then."""
        ties, closings = self._ties[mark[0] :], self._closings[mark[1] :]
        said = [side for tie in ties for side in tie] + [closed for closed, _ in closings]
        return np.concatenate(said) if said else np.zeros(0, np.int64)

    def partition(self) -> Partition:
        """The units and groups that follow from all that was said."""
        sources = np.repeat(np.arange(len(self._counts)), self._counts)
        ties = [np.concatenate(side) for side in zip(*self._ties, strict=True)]
        one, other = ties if ties else (np.zeros(0, np.int64), np.zeros(0, np.int64))
        unit_of = connected_components(len(sources), one, other)
        source_group = connected_components(len(self._counts), sources[one], sources[other])
        closed: dict[int, str] = {}
        for channels, reason in self._closings:
            for unit in np.unique(unit_of[channels]):
                closed.setdefault(int(unit), reason)
        return Partition(unit_of, source_group[sources], closed, self._group_makers(source_group))

    def _group_makers(self, source_group: IntArray) -> tuple[tuple[str, ...], ...]:
        makers: list[dict[str, None]] = [{} for _ in range(int(source_group.max(initial=-1)) + 1)]
        for group, maker in zip(source_group, self._makers, strict=True):
            makers[group][maker] = None
        return tuple(map(tuple, makers))


def connected_components(count: int, one: IntArray, other: IntArray) -> IntArray:
    """For each of ``count`` vertices its component, numbered by the first vertex in each.

    ``one`` and ``other`` are the ends of the edges. Every vertex points at the smallest one
    that it knows of; edges and pointers are followed until nothing gets smaller.
    """
    root = np.arange(count, dtype=np.int64)
    while True:
        smallest = np.minimum(root[one], root[other])
        before = root.copy()
        # The roots of both ends learn of the smaller one, so whole components move at once.
        np.minimum.at(root, root[one], smallest)
        np.minimum.at(root, root[other], smallest)
        root = root[root]
        if np.array_equal(root, before):
            break
    return np.unique(root, return_inverse=True)[1].astype(np.int64)
