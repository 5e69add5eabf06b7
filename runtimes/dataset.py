"""The data that models are calibrated, evaluated and compared on, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.base import Array, TensorSpec


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


class Dataset:
    """Samples of a model's inputs, with or without labels, read again on every pass.

    Made by ``Dataset.open``. Nothing is held in memory beyond a batch: arrays in files are
    memory-mapped, compressed ones are inflated piece by piece, iterables are iterated.
    """

    name: str
    """Where the data come from, for messages."""
    input_names: tuple[str, ...]
    label_names: tuple[str, ...]
    """Names of the outputs that have labels; ``""`` for the plain ``labels`` array."""
    notes: tuple[str, ...]
    """What was done to the data that the user should know (casts, renames, splits)."""

    @classmethod
    def open(cls, source: Any, *, inputs: Sequence[TensorSpec] | None = None) -> Dataset:
        """Open what a user has as data.

        ``source``: a ``Dataset``; the path of an ``.npz``, an ``.npy`` or a folder of images;
        an array; a dict of arrays; a ``tf.data.Dataset``; an iterable of batches that can be
        iterated again, or a function without arguments that gives a new iterator. A batch is
        an array, a dict of arrays, or a tuple ``(x, y)``. Arrays ``labels`` or
        ``labels:<output>`` are labels.

        With ``inputs`` the data are bound to a model's inputs, see ``bind``. Raises
        ``DataError`` for data that cannot be read, hold no samples, or whose sample counts differ.
        """
        raise NotImplementedError

    @property
    def num_samples(self) -> int | None:
        """Number of samples, or None for an iterable that does not say."""
        raise NotImplementedError

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the samples in order, ``batch_size`` at a time, the last batch smaller.

        Samples whose shapes differ (dynamic dimensions) do not share a batch. Raises
        ``DataError`` at the first NaN or infinity, naming array and sample.
        """
        raise NotImplementedError

    def bind(self, specs: Sequence[TensorSpec]) -> Dataset:
        """Fit the data to a model's inputs: names, shapes, dtypes.

        One array fits a single input whatever it is called. Values keep their meaning: float
        widths are converted, integers are converted where every value fits exactly, integers
        become floats where they stay exact (uint8 images keep 0…255); floats never become
        integers. What was converted is in ``notes``. Raises ``DataError`` that says what was
        expected and what was found.
        """
        raise NotImplementedError

    def split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Split into two parts that share no sample: ``fraction`` of them, and the rest.

        A sample's part depends on its position, the number of samples and the seed alone, so
        the split is the same on every machine. Raises ``DataError`` where one part would be empty.
        """
        raise NotImplementedError

    def take(self, count: int) -> Dataset:
        """Only the first ``count`` samples (all, where there are fewer)."""
        raise NotImplementedError
