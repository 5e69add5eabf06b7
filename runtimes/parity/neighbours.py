"""Embeddings: how far they turn, and whether the nearest other sample stays the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.base import Array

# Of so many samples each one's nearest is looked for.
_MOST = 512


class NeighbourAccumulator:
    """Keeps the first embeddings of both models, [samples, width]."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Array, Array]] = []
        self._count = 0

    def update(self, expected: Array, found: Array) -> None:
        """Add float64 arrays of one shape."""
        if expected.ndim == 2 and self._count < _MOST:
            rows = _MOST - self._count
            self._pairs.append((expected[:rows].copy(), found[:rows].copy()))
            self._count += len(self._pairs[-1][0])

    def absorb(self, later: NeighbourAccumulator) -> None:
        """Add those of batches that come later."""
        for expected, found in later._pairs:
            self.update(expected, found)

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes."""
        return {"pairs": [list(pair) for pair in self._pairs]}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> NeighbourAccumulator:
        """What ``state`` gave."""
        found = cls()
        for expected, other in state["pairs"]:
            found.update(expected, other)
        return found

    def found(self) -> tuple[float, float] | None:
        """The mean cosine between both models, and the share of samples whose nearest is the same.

        None for fewer than three samples.
        """
        if self._count < 3:
            return None
        first, second = (_unit(np.concatenate(side)) for side in zip(*self._pairs, strict=True))
        same = _nearest(first) == _nearest(second)
        return float((first * second).sum(axis=1).mean()), float(same.mean())


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-300))


def _nearest(vectors: Array) -> Array:
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    return np.asarray(likeness.argmax(axis=1))
