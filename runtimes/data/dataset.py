"""The data that models are calibrated, evaluated and compared on, streamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.batches import Batch, by_shape, in_blocks
from runtimes.data.binding import check_array, check_finite, convert, is_label, match_inputs
from runtimes.data.class_names import (
    ClassNames,
    class_names,
    label_columns,
    numbered,
    numbering,
)
from runtimes.data.hub import HubSource
from runtimes.data.image_folder import ImageFolder
from runtimes.data.image_options import ImageOptions
from runtimes.data.open_source import absolute, open_source
from runtimes.data.parquet import ParquetSource
from runtimes.data.positions import BLOCK, hashed, shard_bounds, smallest, smallest_below
from runtimes.data.sources import Source, StreamSource
from runtimes.data.tables import TableSource
from runtimes.errors import DataError


class Dataset:
    """Samples of a model's inputs, with or without labels, read again on every pass.

    Made by ``Dataset.open``. Nothing is held in memory beyond a batch: arrays in files are
    memory-mapped, compressed ones are inflated piece by piece, iterables are iterated.
    ``name`` says where the data come from, ``notes`` what was done to them that the user
    should know (casts, splits). ``label_names`` are the outputs that have labels, ``""`` for
    the plain ``labels`` array; ``class_names`` those of them that were names of classes, which
    have become indices, in their order. ``implied_labels``: nobody gave them, they are the
    folders that images lie in.
    """

    def __init__(
        self,
        source: Source,
        *,
        indices: Array | None = None,
        inputs: Sequence[TensorSpec] | None = None,
        notes: Sequence[str] = (),
        classes: ClassNames | None = None,
        labelled: bool = True,
        change: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self._source = source
        self._origin: tuple[str, ImageOptions | None] | None = None
        self._change = change
        self._indices = indices
        self._inputs = None if inputs is None else tuple(inputs)
        if isinstance(source, TableSource | ParquetSource | HubSource) and self._inputs is not None:
            source = self._source = source.arranged(self._inputs)
        wanted = {spec.name for spec in self._inputs or ()}
        arrays = [c for c in source.columns if not is_label(c.name) or c.name in wanted]
        labels = [c for c in source.columns if c not in arrays]
        if not labelled:
            labels = []
        if classes is None:
            text = [c.name for c in labels if c.dtype.kind in "OUS"]
            classes = {name: class_names(source, name) for name in text}
            notes = (*notes, *(numbering(name, classes[name]) for name in text))
        for label in labels:
            if label.dtype.kind not in "biufOUS":
                raise DataError(
                    f"{source.name}: {label.name!r} holds {label.dtype.name}, not numbers; "
                    "give classes by their index"
                )
        self._classes = classes
        self._labelled = labelled
        self._labels = {c.name: c.name.removeprefix("labels").removeprefix(":") for c in labels}
        casts: list[str] = []
        if not arrays and self._inputs is not None:
            raise DataError(f"{source.name} holds labels only, no inputs")
        if self._inputs is None:
            self._arrays = {c.name: c.name for c in arrays}
        else:
            self._arrays = match_inputs(arrays, self._inputs, source.name)
            found = {c.name: c for c in arrays}
            for spec in self._inputs:
                note = check_array(found[self._arrays[spec.name]], spec, source.name)
                casts += [note] if note else []
        self.name = source.name
        self.input_names = tuple(self._arrays)
        self.label_names = tuple(self._labels.values())
        self.class_names = {self._labels[name]: classes[name] for name in classes if labelled}
        self.implied_labels = bool(self._labels) and getattr(source, "implied_labels", False)
        self.notes = tuple(dict.fromkeys((*notes, *getattr(source, "notes", ()), *casts)))

    @classmethod
    def open(
        cls,
        source: Any,
        *,
        inputs: Sequence[TensorSpec] | None = None,
        images: ImageOptions | None = None,
    ) -> Dataset:
        """Open what a user has as data.

        ``source``: a ``Dataset``; the path of an ``.npz``, an ``.npy`` or a folder of images;
        an array; a dict of arrays; a tuple ``(x, y)`` of all samples and labels, each an array or
        a dict of arrays, as ``keras.Model.fit`` takes them; a ``tf.data.Dataset``; a dataset of
        Hugging Face's ``datasets``; the path of a CSV or Parquet file, a ``pandas.DataFrame`` or a
        ``pyarrow.Table``, whose columns have names (a column ``label`` or ``target`` holds labels);
        an iterable of batches that can be iterated again, or a function without arguments that
        gives a new iterator. A batch is an array, a dict of arrays, or a tuple ``(x, y)``. Arrays
        ``labels`` or ``labels:<output>`` are labels.

        With ``inputs`` the data are bound to a model's inputs, see ``bind``. ``images`` says how
        those of a folder are resized and scaled. Raises
        ``DataError`` for data that cannot be read, hold no samples, or whose sample counts differ.
        """
        dataset = source if isinstance(source, Dataset) else cls(open_source(source, images))
        if isinstance(source, str | os.PathLike):
            dataset._origin = absolute(source), images
        return dataset if inputs is None else dataset.bind(inputs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same path; nothing else of it can be sent there."""
        if self._origin is None:
            raise DataError(f"{self.name} cannot be sent to another process; give a path")
        return _reopened, self._origin

    @property
    def num_samples(self) -> int | None:
        """Number of samples, or None for an iterable that does not say."""
        return self._source.num_samples if self._indices is None else len(self._indices)

    @property
    def is_whole(self) -> bool:
        """Whether all samples of the source are here, at their own positions."""
        return self._indices is None

    @property
    def images(self) -> ImageOptions | None:
        """How images become arrays here, where the data are a folder of them."""
        return self._source.options if isinstance(self._source, ImageFolder) else None

    def batches(self, batch_size: int, *, block: int | None = None) -> Iterator[Batch]:
        """Yield the samples, ``batch_size`` at a time, in order where they have one shape.

        Samples whose shapes differ (dynamic dimensions) do not share a batch: they wait for others
        of their shape, some batches at most, and ``indices`` tell where they come from. Only the
        last batch of a shape, and those that waited too long, are smaller. With ``block`` no batch
        reaches from one block of so many samples into the next: a shard then has the batches that
        it has in the whole. Raises ``DataError`` at the first NaN or infinity, naming array and
        sample.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if block is None:
            batches = by_shape(self._in_order(batch_size), batch_size)
        else:
            batches = in_blocks(self._in_order(batch_size), batch_size, block)
        return batches if self._change is None else map(self._change, batches)

    def _in_order(self, batch_size: int) -> Iterator[Batch]:
        position = 0
        for columns in self._source.read(self._indices, batch_size):
            count = len(next(iter(columns.values())))
            indices = np.arange(position, position + count)
            if self._indices is not None:
                indices = self._indices[position : position + count]
            position += count
            yield self._batch(columns, indices)
        if position == 0:
            raise DataError(f"{self.name} holds no samples")

    def bind(self, specs: Sequence[TensorSpec]) -> Dataset:
        """Fit the data to a model's inputs: names, shapes, dtypes.

        One array fits a single input whatever it is called. Values keep their meaning: float
        widths are converted, integers are converted where every value fits exactly, integers
        become floats where they stay exact (uint8 images keep 0…255); floats never become
        integers. What was converted is in ``notes``. Raises ``DataError`` that says what was
        expected and what was found.
        """
        source = self._source
        if isinstance(source, StreamSource) and self._indices is None:
            ranks = [
                len(column.shape or ()) for column in source.columns if not is_label(column.name)
            ]
            wanted = [None if spec.shape is None else len(spec.shape) - 1 for spec in specs]
            # An element that lacks an axis is one sample: a tf.data.Dataset without batch().
            if ranks == wanted:
                source = source.as_samples()
        if isinstance(source, ImageFolder) and len(specs) == 1:
            source = source.for_input(specs[0])
        notes = self.notes if self._inputs is None else self._notes_of_classes()
        return self._like(source, self._indices, specs, notes)

    def without_labels(self) -> Dataset:
        """The same samples, as if nobody knew what they are."""
        return self._like(self._source, self._indices, self._inputs, self.notes, labelled=False)

    def changed(self, by: Callable[[Batch], Batch]) -> Dataset:
        """The same samples, with every batch as ``by`` gives it; labels are those of before."""
        changed = self._like(self._source, self._indices, self._inputs, self.notes)
        before = self._change
        changed._change = by if before is None else lambda batch: by(before(batch))
        return changed

    def all_labels(self, output: str) -> Array:
        """The labels of ``output`` (one of ``label_names``) of all samples.

        Samples of several shapes keep what they have in common: they are one row of elements.
        """
        key = next(name for name, one in self._labels.items() if one == output)
        pieces = label_columns(self._source, key)
        if len({piece.shape[1:] for piece in pieces}) > 1:
            pieces = [batch.labels[output].reshape(-1) for batch in self.batches(256)]
            return np.concatenate(pieces)
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        chosen = whole if self._indices is None else whole[self._indices]
        positions = np.arange(len(whole)) if self._indices is None else self._indices
        return self._label_values(key, chosen, positions)

    def split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Split into two parts that share no sample: ``fraction`` of them, and the rest.

        Each position gets a 64-bit hash of itself and the seed; the samples with the smallest
        hashes, ``fraction`` of all rounded, are the first part. So the split is the same on
        every machine and for every kind of source, and both parts keep the order. A source that
        does not say how many samples it has is read once. Raises ``DataError`` where one part
        would be empty.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
        indices = self._all_indices()
        first = round(len(indices) * fraction)
        if len(indices) < 2:
            raise DataError(f"{self.name} holds one sample, which cannot be split in two parts")
        first = min(max(first, 1), len(indices) - 1)
        chosen = smallest(indices, first, seed)
        how = f"{len(indices)} samples of {self.name} split by position at random (seed {seed})"
        return (
            self._choose(indices[chosen], f"{how}: {first} here"),
            self._choose(indices[~chosen], f"{how}: {len(indices) - first} here"),
        )

    def folds(self, count: int, seed: int = 0) -> list[tuple[Dataset, Dataset]]:
        """Cut into ``count`` parts as equal as can be; each as (all others, the part itself).

        So every sample is in one part and in the others of all the rest (cross-validation).
        The parts follow the hash of ``split``. Raises ``DataError`` for fewer samples than parts.
        """
        if count < 2:
            raise ValueError(f"there must be at least two folds, not {count}")
        indices = self._all_indices()
        if len(indices) < count:
            raise DataError(f"{self.name} holds {len(indices)} samples, too few for {count} parts")
        part = np.empty(len(indices), np.int64)
        part[np.argsort(hashed(indices, seed))] = np.arange(len(indices)) * count // len(indices)
        return [
            (self._choose(indices[part != one], None), self._choose(indices[part == one], None))
            for one in range(count)
        ]

    def shard(self, index: int, count: int, *, block: int = BLOCK) -> Dataset:
        """Shard ``index`` (from 0) of ``count`` consecutive ones, as equal as whole blocks allow.

        The shards share no sample and lack none; each begins at a multiple of ``block`` samples.
        A source that does not say how many samples it has is read once to count them. Raises
        ``DataError`` where there is no such shard, or fewer blocks than shards.
        """
        total = self.num_samples
        if total is None:
            total = len(self._all_indices())
        start, stop = shard_bounds(total, index, count, block)
        here = np.arange(start, stop) if self._indices is None else self._indices[start:stop]
        return self._choose(here, f"shard {index}/{count}: the samples {start} to {stop - 1}")

    def take(self, count: int) -> Dataset:
        """Only the first ``count`` samples (all, where there are fewer)."""
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        return self._choose(self._all_indices(count), None)

    def sampled(self, count: int, seed: int = 0) -> Dataset:
        """No more than ``count`` of the samples, chosen by the hash of ``split``."""
        total = self._source.num_samples
        if self._indices is None and total is not None:
            return (
                self if total <= count else self._choose(smallest_below(total, count, seed), None)
            )
        indices = self._all_indices()
        if len(indices) <= count:
            return self
        return self._choose(indices[smallest(indices, count, seed)], None)

    def without(self, positions: Array) -> Dataset:
        """All samples but those at these positions in the source; ``DataError`` if none is left."""
        left = np.setdiff1d(self._all_indices(), positions)
        if not len(left):
            raise DataError(f"no sample of {self.name} is left")
        return self._choose(left, None)

    def _choose(self, indices: Array, note: str | None) -> Dataset:
        notes = (*self.notes, *([note] if note else []))
        chosen = self._like(self._source, indices, self._inputs, ())
        chosen.notes = notes
        return chosen

    def _notes_of_classes(self) -> tuple[str, ...]:
        return tuple(numbering(name, names) for name, names in self._classes.items())

    def _like(
        self,
        source: Source,
        indices: Array | None,
        inputs: Sequence[TensorSpec] | None,
        notes: Sequence[str],
        labelled: bool | None = None,
    ) -> Dataset:
        """Another view of the samples, whose names of classes are numbered as here."""
        return Dataset(
            source,
            indices=indices,
            inputs=inputs,
            notes=notes,
            classes=self._classes,
            labelled=self._labelled if labelled is None else labelled,
            change=self._change,
        )

    def _all_indices(self, limit: int | None = None) -> Array:
        """The positions of the samples, counted by reading where the source does not say."""
        if self._indices is not None:
            return self._indices[:limit]
        total = self._source.num_samples
        if total is None:
            total = 0
            for columns in self._source.read(None, 256):
                total += len(next(iter(columns.values())))
                if limit is not None and total >= limit:
                    break
        return np.arange(total if limit is None else min(total, limit))

    def _batch(self, columns: Mapping[str, Array], indices: Array) -> Batch:
        feed = {}
        for spec in self._inputs or [TensorSpec(name, _ANY, None) for name in self._arrays]:
            key = self._arrays[spec.name]
            values = columns[key]
            check_finite(values, key, indices, self.name)
            if self._inputs is not None:
                seen = TensorSpec(key, values.dtype, values.shape)
                check_array(seen, spec, self.name)
                values = convert(values, spec.dtype, key, indices, self.name)
            feed[spec.name] = values
        labels = {}
        for key, output in self._labels.items():
            labels[output] = self._label_values(key, columns[key], indices)
        return Batch(feed, labels, indices)

    def _label_values(self, key: str, values: Array, indices: Array) -> Array:
        if key in self._classes:
            return numbered(values, self._classes[key])
        check_finite(values, key, indices, self.name)
        return values


_ANY: np.dtype[Any] = np.dtype(np.void)


def _reopened(path: str, images: ImageOptions | None) -> Dataset:
    return Dataset.open(path, images=images)
