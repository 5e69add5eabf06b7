"""Tables with names for their columns: CSV, Parquet, pandas and Arrow.

The columns of a table are a model's inputs by name. A model with a single input of several features
takes all columns that hold no labels, in the order of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.binding import is_label
from runtimes.data.sources import ArraySource
from runtimes.errors import DataError, RuntimeUnavailable, first_line
from runtimes.extras import missing_extra

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
LABEL_COLUMNS = ("label", "target")
"""Columns that hold labels, where none is called ``labels`` or ``labels:<output>``."""


class TableSource(ArraySource):
    """The columns of a table, one value a sample in each."""

    def __init__(self, name: str, columns: dict[str, Array]) -> None:
        self._table = with_labels(columns)
        super().__init__(name, self._table)

    def arranged(self, inputs: Sequence[TensorSpec]) -> ArraySource:
        """The same in the shapes of ``inputs``: a column each, or all in one.

        Raises ``DataError`` where the columns are too many or too few for a single input.
        """
        labels = {name: array for name, array in self._table.items() if is_label(name)}
        features = {name: array for name, array in self._table.items() if name not in labels}
        if len(inputs) == 1 and inputs[0].name not in features:
            return ArraySource(self.name, {**self._stacked(features, inputs[0]), **labels})
        ranks = {one.name: len(one.shape or ()) for one in inputs}
        shaped = {
            name: array[:, None] if ranks.get(name) == 2 and array.ndim == 1 else array
            for name, array in features.items()
            if name in ranks
        }
        missing = [one.name for one in inputs if one.name not in features]
        if missing:
            raise DataError(
                f"{self.name}: there is no column {missing[0]!r} for that input; the columns are "
                f"{_listed(features)}"
            )
        return ArraySource(self.name, {**shaped, **labels})

    def _stacked(self, features: dict[str, Array], wanted: TensorSpec) -> dict[str, Array]:
        text = [name for name, array in features.items() if array.dtype.kind not in "biuf"]
        if text:
            raise DataError(
                f"{self.name}: the column {text[0]!r} holds text, and the input {wanted.name!r} "
                "takes numbers; encode it as in training, or leave it out"
            )
        width = wanted.shape[-1] if wanted.shape else None
        if isinstance(width, int) and width != len(features):
            raise DataError(
                f"{self.name}: the input {wanted.name!r} takes {width} columns, and the table has "
                f"{len(features)} besides labels: {_listed(features)}; call the column of labels "
                "labels, label or target, and leave out what the model does not take"
            )
        for name, array in features.items():
            _refuse_missing(self.name, name, array)
        return {wanted.name: np.stack(list(features.values()), axis=1)}


def _refuse_missing(table: str, column: str, array: Array) -> None:
    """Raise ``DataError`` for NaN, which is what pandas has where a value is missing."""
    if array.dtype.kind == "f" and np.isnan(array).any():
        row = int(np.isnan(array.reshape(len(array), -1)).any(axis=1).argmax())
        raise DataError(
            f"{table}: the column {column!r} has no value in row {row}; fill it, or leave the row "
            "out"
        )


def with_labels(columns: dict[str, Array]) -> dict[str, Array]:
    """The columns, of which the one that holds labels is called so."""
    if any(map(is_label, columns)):
        return columns
    found = next((name for name in LABEL_COLUMNS if name in columns), None)
    return {"labels" if name == found else name: array for name, array in columns.items()}


def is_table(source: Any) -> bool:
    """Whether ``source`` is a ``pandas.DataFrame`` or a ``pyarrow.Table``, told without either."""
    module = type(source).__module__.partition(".")[0]
    return module in {"pandas", "pyarrow"} and type(source).__name__ in {"DataFrame", "Table"}


def open_table(source: Any, name: str | None = None) -> TableSource:
    """A ``DataFrame`` or an Arrow table; raises ``DataError`` for columns with missing values."""
    name = name or f"the {type(source).__name__}"
    names = source.columns if hasattr(source, "iloc") else source.column_names
    return TableSource(name, {str(key): _column(source[key], str(key), name) for key in names})


def read_table(path: Path) -> TableSource:
    """Read a CSV or Parquet file.

    Raises ``RuntimeUnavailable`` without pyarrow, ``DataError`` for what cannot be read.
    """
    try:
        import pyarrow
        from pyarrow import csv, parquet
    except ImportError as error:
        raise RuntimeUnavailable(missing_extra("pyarrow", "tabular", f"to read {path}")) from error
    try:
        if path.suffix.lower() in (".csv", ".tsv"):
            between = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            table = csv.read_csv(path, parse_options=between)
        else:
            table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a table: {first_line(error)}") from error
    return open_table(table, str(path))


def _column(values: Any, key: str, name: str) -> Array:
    missing = getattr(values, "null_count", 0)
    array = np.asarray(values.to_numpy())
    if array.dtype == object and array.size and not isinstance(array[0], str | bytes):
        kinds = {np.shape(one) for one in array}
        if len(kinds) == 1 and kinds != {()}:  # lists of one length: a vector each
            array = np.stack([np.asarray(one) for one in array])
    text = array.dtype == object
    if missing or (text and not all(isinstance(one, str | bytes) for one in array.flat)):
        raise DataError(
            f"{name}: the column {key!r} has missing values, or values of several types; fill "
            "them, or leave out rows"
        )
    return array


def _listed(names: Any) -> str:
    names = [repr(name) for name in names]
    return ", ".join(names[:16]) + (f" and {len(names) - 16} more" if len(names) > 16 else "")
