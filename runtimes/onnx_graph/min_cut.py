"""Minimum cut of a small directed graph, by Dinic's algorithm.

E. A. Dinic, "Algorithm for solution of a problem of maximum flow in networks with power
estimation", Soviet Math. Doklady 11 (1970).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

INFINITE = 1 << 60
"""Larger than any sum of capacities in use: an edge of this capacity is never cut."""


@dataclass
class _Edge:
    head: int
    capacity: int
    reverse: int


class Network:
    """A flow network whose vertices are arbitrary hashable objects, created on first use."""

    def __init__(self, source: Hashable, sink: Hashable) -> None:
        self._index: dict[Hashable, int] = {}
        self._edges: list[list[_Edge]] = []
        self._source, self._sink = self._vertex(source), self._vertex(sink)

    def _vertex(self, key: Hashable) -> int:
        if key not in self._index:
            self._index[key] = len(self._edges)
            self._edges.append([])
        return self._index[key]

    def add(self, tail: Hashable, head: Hashable, capacity: int) -> None:
        """Add an edge; cutting it costs ``capacity`` (``INFINITE``: it cannot be cut)."""
        t, h = self._vertex(tail), self._vertex(head)
        self._edges[t].append(_Edge(h, capacity, len(self._edges[h])))
        self._edges[h].append(_Edge(t, 0, len(self._edges[t]) - 1))

    def cut(self) -> tuple[int, set[Hashable]]:
        """The cost of a minimum cut, and the vertices on the source side.

        Among several minimum cuts, it is the one with the fewest vertices on that side.
        """
        flow = 0
        while True:
            levels = self._levels()
            if levels[self._sink] < 0:
                reached = {key for key, index in self._index.items() if levels[index] >= 0}
                return flow, reached
            following = [0] * len(self._edges)
            while pushed := self._push(levels, following):
                flow += pushed

    def _levels(self) -> list[int]:
        levels = [-1] * len(self._edges)
        levels[self._source] = 0
        queue = deque([self._source])
        while queue:
            vertex = queue.popleft()
            for edge in self._edges[vertex]:
                if edge.capacity > 0 and levels[edge.head] < 0:
                    levels[edge.head] = levels[vertex] + 1
                    queue.append(edge.head)
        return levels

    def _push(self, levels: list[int], following: list[int]) -> int:
        """Send flow along one path through the levels; 0 if no path is left."""
        path: list[_Edge] = []
        vertex = self._source
        while vertex != self._sink:
            edges = self._edges[vertex]
            while following[vertex] < len(edges):
                edge = edges[following[vertex]]
                if edge.capacity > 0 and levels[edge.head] == levels[vertex] + 1:
                    break
                following[vertex] += 1
            else:
                if not path:
                    return 0
                # A dead end: step back, and do not visit it again in this phase.
                edge = path.pop()
                vertex = self._edges[edge.head][edge.reverse].head
                following[vertex] += 1
                continue
            path.append(edge)
            vertex = edge.head
        amount = min(edge.capacity for edge in path)
        for edge in path:
            edge.capacity -= amount
            self._edges[edge.head][edge.reverse].capacity += amount
        return amount
