"""Samples from standard input: an ``.npz``, an ``.npy``, or JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from runtimes.atomic_files import scratch_folder
from runtimes.base import Array
from runtimes.errors import DataError

_OF_NUMPY = (b"PK", b"\x93N")


@contextmanager
def samples_from(stream: BinaryIO) -> Iterator[Any]:
    """Yield what ``Dataset.open`` takes; a file of NumPy is kept on disk meanwhile.

    JSON is an object of arrays by input name, or one array; the first axis is the sample. Raises
    ``DataError`` for anything else.
    """
    head = stream.read(2)
    if not head:
        raise DataError("standard input holds no samples; give --data, or pipe an .npz or JSON in")
    if head not in _OF_NUMPY:
        yield _of_json(head + stream.read())
        return
    with scratch_folder() as folder:
        path = folder / "standard-input"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file)
        yield path


def _of_json(raw: bytes) -> Any:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"standard input is neither an .npz nor an .npy nor JSON ({error})"
        ) from error
    if isinstance(found, Mapping):
        return {name: _array(values, repr(name)) for name, values in found.items()}
    return _array(found, "the array")


def _array(values: Any, name: str) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"standard input: {name} is not one array: {error}") from error
    if array.dtype.kind not in "biufU" or not array.ndim:
        raise DataError(f"standard input: {name} holds something that is no array of numbers")
    return array
