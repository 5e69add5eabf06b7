"""What a model makes of data, run once and kept while it is small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.parity.judged_by import fitting_batch

# Batches and outputs are kept up to here; beyond, the model runs again each time.
_MOST_KEPT_BYTES = 16 * 2**20


class KeptOutputs:
    """Batches of ``data`` with the outputs of a model that is open.

    ``later``: the model as it can be opened again, should it have to run once more.
    """

    def __init__(self, runtime: Runtime, data: Dataset, batch_size: int = 32) -> None:
        self.name, self.inputs, self.outputs = runtime.name, runtime.inputs, runtime.outputs
        self.data = data
        self.later: Any = runtime
        self._threads, self._batch_size = runtime.threads, batch_size
        self._kept: list[tuple[Batch, Mapping[str, Array]]] | None = None

    def batches(self) -> Iterator[tuple[Batch, Mapping[str, Array]]]:
        """Batches and outputs, always the same and in the same order."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[tuple[Batch, Mapping[str, Array]]] = []
        held = 0
        with borrow(self.later, "cpu", threads=self._threads, config=NO_SPINNING) as runtime:
            for batch in self.data.batches(fitting_batch(runtime, self._batch_size)):
                outputs = run_padded(runtime, batch.feed)
                arrays = (*batch.feed.values(), *batch.labels.values(), *outputs.values())
                held += sum(array.nbytes for array in arrays)
                if held <= _MOST_KEPT_BYTES:
                    kept.append((batch, outputs))
                else:
                    kept.clear()
                yield batch, outputs
        if held <= _MOST_KEPT_BYTES:
            self._kept = kept
