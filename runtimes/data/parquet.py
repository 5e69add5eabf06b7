"""Parquet that is larger than memory: a file or a folder of them, read row group by row group.

Files come in the order of their names. Only the row groups are read that hold wanted samples, so a
shard reads its own part of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.sources import Columns, regroup
from runtimes.data.tables import open_table
from runtimes.errors import DataError, RuntimeUnavailable, first_line
from runtimes.extras import missing_extra


@dataclass(frozen=True)
class ParquetFile:
    """``name`` for messages; ``open`` gives the file anew each time."""

    name: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class _Group:
    file: ParquetFile
    number: int
    start: int
    rows: int


class ParquetSource:
    """The rows of several files, one after the other.

    Raises ``DataError`` for files that cannot be read, whose columns differ, or without rows.
    """

    def __init__(
        self,
        name: str,
        files: Sequence[ParquetFile],
        inputs: Sequence[TensorSpec] | None = None,
        groups: Sequence[_Group] | None = None,
    ) -> None:
        self.name = name
        self._files, self._inputs = files, inputs
        self._groups = tuple(_groups(files)) if groups is None else groups
        if not self._groups:
            raise DataError(f"{name} holds no samples")
        self.num_samples = self._groups[-1].start + self._groups[-1].rows
        self.columns = self._table(self._groups[0]).columns

    def arranged(self, inputs: Sequence[TensorSpec]) -> ParquetSource:
        """The same in the shapes of ``inputs``, as ``TableSource.arranged`` has them."""
        if self._inputs is not None:
            return self
        return ParquetSource(self.name, self._files, inputs, self._groups)

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Yield batches; of the files only the row groups with these samples are read."""
        return regroup(self._chunks(indices), None, batch_size, self.name)

    def _chunks(self, indices: Array | None) -> Iterator[Columns]:
        for group in self._groups:
            rows: slice | Array = slice(None)
            if indices is not None:
                first, last = np.searchsorted(indices, (group.start, group.start + group.rows))
                rows = indices[first:last] - group.start
                if first == last:
                    continue
            (columns,) = self._table(group).read(None, group.rows)
            yield {key: array[rows] for key, array in columns.items()}

    def _table(self, group: _Group) -> Any:
        found = _read(group.file, lambda file: file.read_row_group(group.number))
        table = open_table(found, group.file.name)
        return table if self._inputs is None else table.arranged(self._inputs)


def _groups(files: Sequence[ParquetFile]) -> Iterator[_Group]:
    start, schema = 0, None
    for one in files:
        found, sizes = _read(one, _shape)
        if schema is not None and not found.equals(schema):
            raise DataError(f"{one.name} has other columns than {files[0].name}")
        schema = found
        for number, rows in enumerate(sizes):
            if rows:
                yield _Group(one, number, start, rows)
                start += rows


def _shape(file: Any) -> tuple[Any, list[int]]:
    metadata = file.metadata
    counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    return file.schema_arrow.remove_metadata(), counts


def _read(one: ParquetFile, what: Callable[[Any], Any]) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise RuntimeUnavailable(
            missing_extra("pyarrow", "tabular", f"to read {one.name}")
        ) from error
    try:
        with one.open() as file, parquet.ParquetFile(file) as opened:
            return what(opened)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{one.name} cannot be read as a table: {first_line(error)}") from error
