"""The few samples that every step after the ranges works on, and data made of them alone.

Ranges come from all samples, and merge exactly. Everything else (histograms, covariances, means,
and whether a repair helps) is computed on a few samples from all over the data, which follow from
their number alone: a shard keeps those of them that it holds, some hundreds over all shards
together. So no sum of floats is ever put together from parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.positions import BLOCK, smallest_below
from runtimes.data.sources import Columns, column, regroup
from runtimes.errors import DataError

HISTOGRAM_SAMPLES = 128
"""Most samples that anything but a score is computed on; drawn with seed 0."""

SCORE_SAMPLES, SCORE_SEED = 192, 1
"""Most samples on which two models are compared, other ones than those that calibrate."""

Samples = Mapping[int, Mapping[str, Array]]
"""By position: one sample of every input, without the batch axis."""


@lru_cache(maxsize=4)
def wanted_positions(total: int) -> tuple[int, ...]:
    """Which of ``total`` samples are kept, ascending: the first ones, and those of ``spread``."""
    found = np.unique(
        np.concatenate(
            [
                np.arange(min(total, BLOCK)),
                smallest_below(total, HISTOGRAM_SAMPLES, 0),
                smallest_below(total, SCORE_SAMPLES, SCORE_SEED),
            ]
        )
    )
    return tuple(found.tolist())


class KeptSource:
    """``total`` samples of which only those that were kept can be read."""

    def __init__(self, name: str, total: int, samples: Samples) -> None:
        self.name = name
        self.num_samples = total
        self._samples = samples
        first = samples[min(samples)]
        self.columns: tuple[TensorSpec, ...] = tuple(
            column(name, key, array[None]) for key, array in first.items()
        )

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Yield batches; ``DataError`` at the first sample that was not kept."""
        wanted = range(self.num_samples) if indices is None else map(int, indices)
        rows = (self._row(position) for position in wanted)
        return regroup(rows, None, batch_size, self.name)

    def _row(self, position: int) -> dict[str, Array]:
        if position not in self._samples:
            raise DataError(
                f"{self.name} keep {len(self._samples)} of {self.num_samples} samples, and this "
                f"step asks for sample {position}; give the data themselves in place of statistics"
            )
        return {key: array[None] for key, array in self._samples[position].items()}
