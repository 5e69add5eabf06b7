"""Datasets of Hugging Face's ``datasets``, read row by row from where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.binding import is_label
from runtimes.data.iterables import as_array
from runtimes.data.sources import Columns, column
from runtimes.data.tables import with_labels
from runtimes.errors import DataError


def is_hub_dataset(source: Any) -> bool:
    """Whether ``source`` is a ``datasets.Dataset``, told without that package."""
    return type(source).__module__.startswith("datasets.") and hasattr(source, "with_format")


class HubSource:
    """The rows of one split; a column ``label`` holds labels.

    Raises ``DataError`` for several splits, for one that is streamed, and for an empty one.
    """

    def __init__(self, source: Any) -> None:
        self.name = f"the {type(source).__name__}"
        if isinstance(source, dict):
            splits = ", ".join(map(repr, source))
            raise DataError(f"{self.name} holds the splits {splits}; give one of them")
        if not hasattr(source, "__len__"):
            raise DataError(
                f"{self.name} is streamed, and samples are read several times and kept apart; load "
                "it without streaming=True"
            )
        self._source = source
        self._rows = source.with_format("numpy")
        self._count = len(source)
        if not self._count:
            raise DataError(f"{self.name} holds no samples")
        first = self._batch(np.arange(min(2, self._count)))
        self.columns = tuple(column(self.name, key, array) for key, array in first.items())

    def arranged(self, inputs: Sequence[TensorSpec]) -> HubSource:
        """The same without columns that are neither inputs nor labels, such as an ``id``.

        Only where all ``inputs`` are called as columns are: any name fits a single input.
        """
        wanted = {one.name for one in inputs}
        names = {one.name for one in self.columns}
        others = [name for name in names - wanted if not is_label(name)]
        if not wanted <= names or not others:
            return self
        return HubSource(self._source.remove_columns(sorted(others)))

    @property
    def num_samples(self) -> int:
        """How many rows there are."""
        return self._count

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Yield batches of rows; only these are decoded."""
        places = np.arange(self._count) if indices is None else indices
        for start in range(0, len(places), batch_size):
            yield self._batch(places[start : start + batch_size])

    def _batch(self, places: Array) -> dict[str, Array]:
        rows = self._rows[places.tolist()]
        return with_labels({str(key): _whole(rows[key], str(key), self.name) for key in rows})


def _whole(values: Any, key: str, name: str) -> Array:
    """A column of a batch as one array; ``DataError`` where rows differ in shape."""
    shapes = {np.shape(one) for one in values}
    if len(shapes) > 1:
        raise DataError(
            f"{name}: the rows of {key!r} have shapes {', '.join(map(str, sorted(shapes)[:3]))}; "
            "bring them to one with map(), or leave the column out with remove_columns()"
        )
    return as_array(np.asarray(values), name)
