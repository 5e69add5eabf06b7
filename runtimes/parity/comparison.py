"""What running both models over samples adds up to, over all of them or shard by shard.

A comparison of consecutive shards, absorbed in their order, is to the bit that of the whole: sums
are exact (``runtimes.exact_sum``), batches do not reach from one block into the next, and what the
first samples decide is decided by the first samples of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.data.positions import BLOCK
from runtimes.engines.batching import run_padded
from runtimes.engines.runtime import Runtime
from runtimes.errors import ModelError
from runtimes.metrics.metric import Metric, open_metrics
from runtimes.parity.candidate import Candidate
from runtimes.parity.rounding_noise import Probe
from runtimes.progress import Progress

# Samples whose shapes differ wait for others of theirs, so many batches at most.
_BATCHES_OF_SHAPES = 8


@dataclass(frozen=True)
class Comparing:
    """How batches are compared.

    ``metric``: names with commas between. ``rtol``, ``atol``: what is counted as outside.
    ``probed``: whether the samples are kept on which rounding noise is measured.
    """

    metric: str | None
    rtol: float | None
    atol: float | None
    batch_size: int
    probed: bool


class Comparison:
    """The metrics of a reference, and what its candidates differ by."""

    def __init__(
        self, how: Comparing, reference: Runtime, others: Sequence[Candidate], data: Dataset
    ) -> None:
        self.how = how
        self.block = block_of(how.batch_size, reference.inputs)
        self.samples = 0
        self.probe = Probe()
        self._reference, self._others = reference, others
        self._opened = False
        names = [spec.name for spec in reference.outputs]

        def metrics() -> Sequence[Metric]:
            return open_metrics(how.metric, names, data.label_names) if how.metric else ()

        self.metrics = metrics()
        for other in others:
            other.start(names, how.rtol, how.atol)
            other.metrics = metrics()

    def first(self, whole: Dataset) -> tuple[Batch, Mapping[str, Array]]:
        """The first batch of the whole, and the reference's outputs, for ``open``."""
        batch = next(iter(whole.batches(self.how.batch_size, block=self.block)))
        return batch, self._expected(batch)

    def open(self, expected: Mapping[str, Array]) -> None:
        """Let the reference's outputs of the first batch say what outputs hold."""
        if not self._opened:
            for other in self._others:
                other.open(expected)
        self._opened = True

    def run(self, data: Dataset, tell: Progress) -> None:
        """Run all models on the samples of ``data``."""
        for batch in data.batches(self.how.batch_size, block=self.block):
            self._add(batch)
            tell("comparing", self.samples, data.num_samples)

    def state(self) -> dict[str, Any]:
        """What was found so far, a tree of plain values and arrays, for ``absorb``."""
        return {
            "samples": self.samples,
            "probe": self.probe.state(),
            "metrics": [metric.state() for metric in self.metrics],
            "others": [other.state() for other in self._others],
        }

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Add what the same models made of the samples that come next."""
        self.samples += int(state["samples"])
        self.probe.absorb(Probe.restored(state["probe"]))
        for metric, found in zip(self.metrics, state["metrics"], strict=True):
            metric.absorb(found)
        for other, found in zip(self._others, state["others"], strict=True):
            other.absorb(found)

    def _add(self, batch: Batch) -> None:
        expected = self._expected(batch)
        self.open(expected)
        for one in self.metrics:
            one.update(expected, batch.labels, batch.indices)
        for other in self._others:
            errors = other.update(expected, batch)
            if self.how.probed:
                self.probe.add(batch.feed, batch.indices, errors)
        self.samples += len(batch)

    def _expected(self, batch: Batch) -> Mapping[str, Array]:
        expected = run_padded(self._reference, batch.feed)
        refuse_nan(expected, batch, self._reference)
        return expected


def block_of(batch_size: int, inputs: Sequence[TensorSpec]) -> int:
    """At whose multiples shards begin: whole batches, several where shapes may differ."""
    varies = any(
        spec.shape is None or not all(isinstance(size, int) for size in spec.shape[1:])
        for spec in inputs
    )
    batches = _BATCHES_OF_SHAPES if varies else max(1, BLOCK // batch_size)
    return batches * batch_size


def refuse_nan(outputs: Mapping[str, Array], batch: Batch, runtime: Runtime) -> None:
    """Raise ``ModelError`` where an output of ``runtime`` is NaN."""
    for name, values in outputs.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            row = int(np.isnan(values).reshape(len(values), -1).any(axis=1).argmax())
            raise ModelError(
                f"{runtime.name}: the output {name!r} is NaN at sample {batch.indices[row]}; "
                "look for NaN in its weights, or for values that it cannot take"
            )
