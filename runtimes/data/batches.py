"""Samples side by side, and how those of several shapes are put there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np

from runtimes.base import Array

_WAITING_BATCHES = 8


@dataclass(frozen=True)
class Batch:
    """Samples side by side.

    ``feed`` maps input names to arrays, first axis the sample. ``labels`` maps output names
    to label arrays of as many samples; the key ``""`` is the plain ``labels`` array.
    ``indices`` are the samples' positions in the source, int64.
    """

    feed: Mapping[str, Array]
    labels: Mapping[str, Array]
    indices: Array

    def __len__(self) -> int:
        return len(self.indices)


def by_shape(batches: Iterator[Batch], batch_size: int) -> Iterator[Batch]:
    """Join batches of equal shapes that lie apart, up to ``batch_size`` samples.

    Samples of one shape keep their order. At most eight batches' worth of samples wait; beyond
    that, those of the shape that has most are let go.
    """
    waiting: dict[object, list[Batch]] = {}
    for batch in batches:
        shape = _shape(batch)
        if len(batch) == batch_size and shape not in waiting:
            yield batch
            continue
        pieces = waiting.setdefault(shape, [])
        pieces.append(batch)
        if sum(map(len, pieces)) >= batch_size:
            whole = _joined(waiting.pop(shape))
            yield rows_of(whole, slice(0, batch_size))
            if len(whole) > batch_size:
                waiting[shape] = [rows_of(whole, slice(batch_size, None))]
        if sum(len(piece) for one in waiting.values() for piece in one) > (
            _WAITING_BATCHES * batch_size
        ):
            most = max(waiting, key=lambda key: sum(map(len, waiting[key])))
            yield _joined(waiting.pop(most))
    for pieces in waiting.values():
        yield _joined(pieces)


def in_blocks(batches: Iterator[Batch], batch_size: int, block: int) -> Iterator[Batch]:
    """``by_shape`` within each ``block`` of consecutive samples by itself."""
    for _, pieces in groupby(_cut(batches, block), key=itemgetter(0)):
        yield from by_shape((piece for _, piece in pieces), batch_size)


def _cut(batches: Iterator[Batch], block: int) -> Iterator[tuple[int, Batch]]:
    """Batches that end where blocks do, each with the number of its block."""
    position = 0
    for batch in batches:
        start = 0
        while start < len(batch):
            stop = min(len(batch), start + block - position % block)
            whole = start == 0 and stop == len(batch)
            yield position // block, batch if whole else rows_of(batch, slice(start, stop))
            position += stop - start
            start = stop


def _shape(batch: Batch) -> object:
    arrays = (*batch.feed.items(), *batch.labels.items())
    return tuple((name, values.shape[1:], values.dtype.str) for name, values in arrays)


def _joined(pieces: list[Batch]) -> Batch:
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0]
    return Batch(
        {name: np.concatenate([piece.feed[name] for piece in pieces]) for name in first.feed},
        {name: np.concatenate([piece.labels[name] for piece in pieces]) for name in first.labels},
        np.concatenate([piece.indices for piece in pieces]),
    )


def rows_of(batch: Batch, rows: slice | Array) -> Batch:
    """Some of the samples: a slice, or their places."""
    return Batch(
        {name: values[rows] for name, values in batch.feed.items()},
        {name: values[rows] for name, values in batch.labels.items()},
        batch.indices[rows],
    )
