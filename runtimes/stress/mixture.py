"""Several perturbations on one set of samples: some samples stay as they are, each other gets one.

So what is fitted to or judged on as many samples as before has seen all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from runtimes.data.batches import Batch, rows_of


class Perturbation(Protocol):
    """What changes samples, each by its index: a rung, or noise."""

    def on(self, batch: Batch) -> Batch:
        """The batch perturbed."""


@dataclass(frozen=True)
class Mixture:
    """One of the ``perturbations`` on a ``share`` of the samples, chosen by ``seed`` and index."""

    perturbations: Sequence[Perturbation]
    share: float = 1.0
    seed: int = 0

    def on(self, batch: Batch) -> Batch:
        """The batch, wherever its samples stand in it."""
        chosen = np.array([self._choice(int(index)) for index in batch.indices], np.int64)
        feed = dict(batch.feed)
        for number, perturbation in enumerate(self.perturbations):
            places = np.flatnonzero(chosen == number)
            if not len(places):
                continue
            changed = perturbation.on(rows_of(batch, places))
            for name, array in changed.feed.items():
                if feed[name] is batch.feed[name]:
                    feed[name] = batch.feed[name].copy()
                feed[name][places] = array
        return replace(batch, feed=feed)

    def _choice(self, index: int) -> int:
        """The number of a sample's perturbation; -1 where it stays as it is."""
        random = np.random.default_rng([self.seed % 2**64, len(self.perturbations), index])
        if random.random() >= self.share:
            return -1
        return int(random.integers(len(self.perturbations)))
