"""Iterables of batches as data: lists, tf.data, Keras' PyDataset, functions that give iterators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.data.sources import Columns, StreamSource
from runtimes.errors import DataError

SINGLE = "data"
"""Name of an array that came without one."""


def open_iterable(source: Any) -> StreamSource:
    """Open an iterable whose elements are arrays, dicts of arrays or tuples ``(x, y)``.

    Raises ``DataError`` for one that can be iterated only once or that has no end.
    """
    name = f"the {type(source).__name__}"
    factory = _factory(source, name)
    stream = StreamSource(name, lambda: (as_columns(element, name) for element in factory()))
    if any(column.shape == () for column in stream.columns):
        return stream.as_samples()
    return stream


def as_columns(element: Any, name: str) -> Columns:
    """One element as named arrays.

    A tuple is ``(x, y)`` or ``(x, y, weights)``, as Keras has it; weights are left out. ``x`` may
    be a list or tuple of several inputs, called ``#0``, ``#1``, … in the model's order.
    """
    labels: Any = None
    if isinstance(element, tuple) and 1 <= len(element) <= 3:
        element, labels = element[0], element[1] if len(element) > 1 else None
    columns: dict[str, Array] = {}
    if isinstance(element, Mapping):
        columns.update((str(key), as_array(value, name)) for key, value in element.items())
    elif isinstance(element, list | tuple) and element and hasattr(element[0], "shape"):
        if len(element) == 1:
            columns[SINGLE] = as_array(element[0], name)
        else:
            columns.update((f"#{i}", as_array(value, name)) for i, value in enumerate(element))
    else:
        columns[SINGLE] = as_array(element, name)
    if isinstance(labels, Mapping):
        columns.update((f"labels:{key}", as_array(value, name)) for key, value in labels.items())
    elif isinstance(labels, list | tuple) and labels and hasattr(labels[0], "shape"):
        raise DataError(
            f"{name} gives labels for several outputs without names; "
            "give them as a dict, by the outputs' names"
        )
    elif labels is not None:
        columns["labels"] = as_array(labels, name)
    return columns


def as_array(value: Any, name: str) -> Array:
    """A tensor, list or number as an array; ``DataError`` for ragged values and objects."""
    if hasattr(value, "numpy") and not isinstance(value, np.ndarray):
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"{name}: {type(value).__name__} is not an array: {error}") from error
    if array.dtype.hasobject and not all(isinstance(v, str | bytes) for v in array.flat):
        raise DataError(
            f"{name} gives a {type(value).__name__} where arrays of numbers are wanted; "
            "a batch is an array, a dict of arrays, or a tuple (x, y)"
        )
    return array


def is_pair(source: Any) -> bool:
    """Whether ``source`` is ``(x, y)`` or ``(x, y, weights)`` and not a tuple of batches."""
    if not isinstance(source, tuple) or not 2 <= len(source) <= 3:
        return False
    x, y = source[0], source[1]
    return all(isinstance(one, Mapping) or hasattr(one, "shape") for one in (x, y)) or (
        isinstance(x, list | tuple) and hasattr(y, "shape")
    )


def is_tf_dataset(source: Any) -> bool:
    """Whether ``source`` is a ``tf.data.Dataset``, told without TensorFlow."""
    return hasattr(source, "element_spec") and hasattr(source, "as_numpy_iterator")


def _factory(source: Any, name: str) -> Callable[[], Iterable[Any]]:
    if is_tf_dataset(source):
        if int(source.cardinality()) == -1:
            raise DataError(f"{name} repeats without end; drop its repeat() or use take(count)")
        return lambda: iter(source.as_numpy_iterator())
    if callable(source) and not hasattr(source, "__iter__") and not hasattr(source, "__getitem__"):
        return lambda: iter(source())
    if isinstance(source, Iterator):
        raise DataError(
            f"{name} can be read only once, and data are read several times; give a list, "
            "or the function that makes it: Dataset.open(make_batches)"
        )
    if hasattr(source, "__iter__"):
        return lambda: iter(source)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return lambda: (source[i] for i in range(len(source)))
    raise DataError(
        f"a {type(source).__name__} is not data; give an .npz or .npy file, a folder of images, "
        "a dict of arrays, a tf.data.Dataset or an iterable of batches"
    )
