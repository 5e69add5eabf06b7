"""Where samples come from: arrays that can be indexed, or chunks that come in order."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.errors import DataError

Columns = Mapping[str, Array]
"""Arrays by name, as many samples in each."""


class Source(Protocol):
    """Samples by position, each a value of every column.

    ``columns`` are the arrays by name with their dtype and shape, the first axis dynamic.
    ``num_samples`` is None where only reading everything would tell.
    """

    name: str
    columns: tuple[TensorSpec, ...]

    @property
    def num_samples(self) -> int | None:
        """How many samples there are."""
        ...

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Yield the samples at ``indices`` (ascending; None: all), in batches."""
        ...


class ArraySource:
    """Arrays in memory or memory-mapped, first axis the sample.

    ``release`` is called after each batch, to let go of what was mapped to read it.
    """

    num_samples: int

    def __init__(
        self, name: str, arrays: Columns, release: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self._release = release
        self._arrays = arrays = spread_scalars(arrays)
        self.columns = tuple(column(name, key, array) for key, array in arrays.items())
        self.num_samples = common_length(name, arrays)
        if self.num_samples == 0:
            raise DataError(f"{name} holds no samples")

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Yield batches of rows; only these rows are read from a memory-mapped file."""
        total = self.num_samples if indices is None else len(indices)
        for start in range(0, total, batch_size):
            stop = min(start + batch_size, total)
            rows = slice(start, stop) if indices is None else indices[start:stop]
            yield {key: np.ascontiguousarray(array[rows]) for key, array in self._arrays.items()}
            if self._release:
                self._release()

    def whole_column(self, key: str) -> Array:
        """One column of all samples, without reading the others."""
        return self._arrays[key]


class StreamSource:
    """Chunks of any size, in the same order each time ``chunks`` is called.

    Order matters: a split by position only keeps samples apart if positions stay. So the first
    chunk is remembered by a checksum, and a stream that starts differently later is refused.
    """

    def __init__(
        self, name: str, chunks: Callable[[], Iterable[Columns]], num_samples: int | None = None
    ) -> None:
        self.name = name
        self.num_samples = num_samples
        self._chunks = chunks
        first = next(iter(chunks()), None)
        if first is None:
            raise DataError(f"{name} holds no samples")
        self.columns = tuple(column(name, key, array) for key, array in first.items())
        self._first = _checksum(first)

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Yield batches, gathered over the bounds of the chunks."""
        return regroup(self._checked(), indices, batch_size, self.name)

    def as_samples(self) -> StreamSource:
        """The stream of the same elements, each taken as one sample instead of a batch."""
        chunks = self._chunks
        return StreamSource(
            self.name,
            lambda: ({key: array[None] for key, array in chunk.items()} for chunk in chunks()),
        )

    def _checked(self) -> Iterator[Columns]:
        for position, chunk in enumerate(self._chunks()):
            if position == 0 and _checksum(chunk) != self._first:
                raise DataError(
                    f"{self.name} gives other samples when it is read again (is it shuffled?); "
                    "give data that come in a fixed order, so that samples can be kept apart"
                )
            yield chunk


def regroup(
    chunks: Iterable[Columns], indices: Array | None, batch_size: int, name: str
) -> Iterator[Columns]:
    """Pick the samples at ``indices`` from chunks of any size and gather them into batches.

    ``indices`` ascend strictly; None picks all. Every batch has ``batch_size`` samples but the last
    and those before a change of the samples' shape. Raises ``DataError`` where the chunks end
    before the last index.
    """
    pending: list[Columns] = []
    gathered = position = picked = 0
    names: Collection[str] | None = None
    for chunk in chunks:
        count = common_length(name, chunk)
        names = chunk.keys() if names is None else names
        if chunk.keys() != names:
            raise DataError(
                f"{name}: from sample {position} on, the arrays are {', '.join(chunk)} "
                f"instead of {', '.join(names)}"
            )
        rows, end = chunk, position + count
        if indices is not None:
            stop = int(np.searchsorted(indices, end))
            chosen = indices[picked:stop] - position
            picked, count = stop, len(chosen)
            rows = {key: array[chosen] for key, array in chunk.items()}
        position = end
        if count and pending and _shapes(pending[0]) != _shapes(rows):
            yield _joined(pending)
            pending, gathered = [], 0
        start = 0
        while start < count:
            stop = min(start + batch_size - gathered, count)
            pending.append({key: array[start:stop] for key, array in rows.items()})
            gathered += stop - start
            start = stop
            if gathered == batch_size:
                yield _joined(pending)
                pending, gathered = [], 0
        if indices is not None and picked == len(indices):
            break
    if pending:
        yield _joined(pending)
    if indices is not None and picked < len(indices):
        raise DataError(
            f"{name} ended after {position} samples, but had more when it was read before"
        )


def column(source: str, key: str, array: Array) -> TensorSpec:
    """What an array holds; ``DataError`` for Python objects, records and scalars."""
    if array.dtype.hasobject and not _is_text(array):
        raise DataError(
            f"{source}: the array {key!r} holds Python objects, not numbers; "
            "save it with a numeric dtype and one shape for all samples"
        )
    if array.dtype.names is not None:
        raise DataError(f"{source}: the array {key!r} holds records; save each field by itself")
    return TensorSpec(key, array.dtype, (None, *array.shape[1:]) if array.ndim else ())


def spread_scalars(arrays: Columns) -> dict[str, Array]:
    """Give each sample the value of a scalar, which is that of all; without copies.

    Scalars among themselves stay as they are: nothing says how many samples there are.
    """
    lengths = [len(array) for array in arrays.values() if array.ndim]
    if not lengths:
        return dict(arrays)
    return {
        key: array if array.ndim or key == "labels" else np.broadcast_to(array, (lengths[0],))
        for key, array in arrays.items()
    }


def common_length(source: str, arrays: Columns) -> int:
    """The number of samples of all arrays; ``DataError`` where they differ."""
    if not arrays:
        raise DataError(f"{source} holds no arrays")
    lengths = {}
    for key, array in arrays.items():
        if array.ndim == 0:
            raise DataError(
                f"{source}: the array {key!r} is a scalar; the first axis is the sample"
            )
        lengths[key] = len(array)
    key, length = next(iter(lengths.items()))
    for other, count in lengths.items():
        if count != length:
            raise DataError(
                f"{source}: {key!r} has {length} samples and {other!r} has {count}; "
                "the first axis of every array is the sample"
            )
    return length


def _joined(pieces: list[Columns]) -> Columns:
    if len(pieces) == 1:
        return pieces[0]
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def _shapes(arrays: Columns) -> dict[str, tuple[int, ...]]:
    return {key: array.shape[1:] for key, array in arrays.items()}


def _checksum(arrays: Columns) -> int:
    total = 0
    for key in sorted(arrays):
        array = arrays[key]
        raw: Any = array.tolist().__repr__().encode() if array.dtype.hasobject else array.tobytes()
        total = zlib.crc32(raw, zlib.crc32(f"{key}{array.shape}{array.dtype}".encode(), total))
    return total


def _is_text(array: Array) -> bool:
    return array.dtype.kind == "O" and all(isinstance(v, str | bytes) for v in array.flat)
