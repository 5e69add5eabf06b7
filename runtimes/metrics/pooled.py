"""Metrics that are no means of scores: computed from sums or ranks over all samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError


class PooledMetric(ABC):
    """A metric of one output that keeps a few numbers a sample, in the batches of ``_kept``.

    ``undefined`` is said where the samples have no value.
    """

    higher_is_better = True
    undefined: ClassVar[str]

    def __init__(self, name: str, output: str, label: str) -> None:
        self.name = name
        self.output, self._label = output, label
        self._kept: list[Array] = []

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        """Add a batch."""
        self._kept.append(self.kept(outputs[self.output], labels[self._label], indices))

    def state(self) -> dict[str, Any]:
        """What was kept so far."""
        return {"kept": joined_pieces(self._kept)}

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Add the batches that the ``state`` of another one is of, which come later."""
        self._kept += state["kept"]

    def value(self) -> float:
        """The metric over all samples so far."""
        found = self.resampled(np.arange(sum(map(len, self._kept))))
        if math.isnan(found):
            raise DataError(self.undefined)
        return found

    def scores(self) -> None:
        """A sample has no value by itself."""
        return None

    def resampled(self, places: Array) -> float:
        """The metric over the samples at ``places``; NaN where they have none."""
        return self.of(np.concatenate(self._kept)[places])

    @abstractmethod
    def kept(self, output: Array, label: Array, indices: Array) -> Array:
        """What is kept of a batch, [samples, …]."""

    @abstractmethod
    def of(self, kept: Array) -> float:
        """The metric of the samples that ``kept`` is of; NaN where they have none."""


def joined_pieces(pieces: Sequence[Array]) -> list[Array]:
    """What batches left behind, in one array where their samples have one shape."""
    alike = len({(piece.shape[1:], piece.dtype) for piece in pieces}) == 1
    return [np.concatenate(pieces)] if alike else list(pieces)
