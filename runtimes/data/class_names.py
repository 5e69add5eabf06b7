"""Labels that are names of classes: which number each one is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from runtimes.base import Array
from runtimes.data.sources import Source
from runtimes.errors import DataError

_CHUNK = 256
# More names than this are no classes: identifiers, sentences.
_MOST_CLASSES = 20_000


def class_names(source: Source, column: str) -> tuple[str, ...]:
    """All names in a column of text, in the order that numbers them.

    That is by character, as Keras sorts the folders of classes and scikit-learn's ``LabelEncoder``
    its labels. Raises ``DataError`` for what cannot be names of classes.
    """
    found: set[str] = set()
    samples = 0
    for columns in label_columns(source, column):
        found.update(str(name) for name in _text(columns).reshape(-1))
        samples += len(columns)
        if len(found) > _MOST_CLASSES or (samples > _CHUNK and len(found) == samples):
            raise DataError(
                f"{source.name}: {column!r} holds a text of its own for every sample, which names "
                "no classes; leave it out, or give classes by their index"
            )
    return tuple(sorted(found))


def numbered(labels: Array, names: tuple[str, ...]) -> Array:
    """Names as the index of their class."""
    return np.searchsorted(np.array(names), _text(labels)).astype(np.int64)


def numbering(column: str, names: tuple[str, ...]) -> str:
    """A sentence on which class is which number."""
    shown = [f"{name!r} is {place}" for place, name in enumerate(names)]
    more = f", … {shown[-1]}" if len(shown) > 4 else ""
    return f"{column}: classes by name, in order: {', '.join(shown[:4])}{more}"


def label_columns(source: Source, column: str) -> list[Array]:
    """The labels of all samples, without their inputs where the source can do that."""
    values = getattr(source, "whole_column", lambda _: None)(column)
    if values is not None:
        return [values]
    return [columns[column] for columns in source.read(None, _CHUNK)]


def _text(labels: Array) -> Array:
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "O":
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in labels.reshape(-1)]
        return np.array(texts, dtype=str).reshape(labels.shape)
    return labels


ClassNames = Mapping[str, tuple[str, ...]]
"""Names of the classes by label column, in order."""
