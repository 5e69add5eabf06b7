"""What a model makes of data, run once and kept while it is small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.parity.judged_by import fitting_batch

T = TypeVar("T")

# Batches are kept up to here; beyond, they are made again, which costs less than a run.
_MOST_BYTES_OF_BATCHES = 16 * 2**20
# Likewise for outputs; beyond, the model runs again each time.
_MOST_BYTES_OF_OUTPUTS = 32 * 2**20


class KeptOutputs:
    """Batches of ``data`` with the outputs of a model that is open.

    ``later``: the model as it can be opened again, should it have to run once more.
    """

    def __init__(self, runtime: Runtime, data: Dataset, batch_size: int = 32) -> None:
        self.name, self.inputs, self.outputs = runtime.name, runtime.inputs, runtime.outputs
        self.data = data
        self.later: Any = runtime
        self._threads = runtime.threads
        self._batch_size = fitting_batch(runtime, batch_size)
        self._batches: list[Batch] | None = None
        self._outputs: list[Mapping[str, Array]] | None = None

    def batches(self) -> Iterator[tuple[Batch, Mapping[str, Array]]]:
        """Batches and outputs, always the same and in the same order."""
        if self._outputs is not None:
            yield from zip(self._made_batches(), self._outputs, strict=True)
            return
        outputs = _Keeping[Mapping[str, Array]](_MOST_BYTES_OF_OUTPUTS)
        with borrow(self.later, "cpu", threads=self._threads, config=NO_SPINNING) as runtime:
            for batch in self._made_batches():
                found = run_padded(runtime, batch.feed)
                outputs.add(found, found.values())
                yield batch, found
        self._outputs = outputs.kept

    def _made_batches(self) -> Iterator[Batch]:
        if self._batches is not None:
            yield from self._batches
            return
        batches = _Keeping[Batch](_MOST_BYTES_OF_BATCHES)
        for batch in self.data.batches(self._batch_size):
            batches.add(batch, (*batch.feed.values(), *batch.labels.values()))
            yield batch
        self._batches = batches.kept


class _Keeping(Generic[T]):
    """A list that is given up where it holds more than so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self.kept: list[T] | None = []
        self._free = most_bytes

    def add(self, item: T, arrays: Iterable[Array]) -> None:
        """Append ``item``, which holds ``arrays``."""
        self._free -= sum(array.nbytes for array in arrays)
        if self._free < 0:
            self.kept = None
        if self.kept is not None:
            self.kept.append(item)
