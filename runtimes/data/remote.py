"""Data in an object store: whatever fsspec opens, ``s3://bucket/folder`` say.

Parquet and ``.npy`` are read in place, of which a shard reads its own part alone. For other kinds
there is no way to read a part, and each worker would copy all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.numpy_files import read_npy_header
from runtimes.data.parquet import ParquetFile, ParquetSource
from runtimes.data.sources import Columns, Source, column
from runtimes.errors import DataError, RuntimeUnavailable, first_line
from runtimes.extras import missing_extra

# Path("s3://bucket/x") has lost one of the slashes.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}([^/].*)", re.ASCII)


def url_of(path: object) -> str | None:
    """``path`` as the address in an object store that it is; None for a path of this machine."""
    found = _URL.fullmatch(str(path))
    return None if found is None else f"{found[1]}://{found[2]}"


def open_remote(url: str, key: str) -> Source:
    """The samples at ``url``: a Parquet file, a folder of them, or an ``.npy`` file.

    Raises ``DataError`` for anything else, and ``RuntimeUnavailable`` without what opens it.
    """
    system, path = _system(url)
    try:
        names = sorted(system.glob(f"{path.rstrip('/')}/*.parquet")) if system.isdir(path) else []
        if not names and not system.isfile(path):
            raise DataError(f"{url} is no file, and no folder of Parquet files")
    except (OSError, ValueError) as error:
        raise DataError(f"{url} cannot be read: {first_line(error)}") from error
    if names or path.endswith(".parquet"):
        return ParquetSource(url, [_parquet(system, name) for name in names or [path]])
    if path.endswith(".npy"):
        return RemoteArray(url, key, system, path)
    raise DataError(
        f"{url} is not data that are read in place; give Parquet files or an .npy, or copy it here"
    )


class RemoteArray:
    """One array, C order, first axis the sample; only the rows that are asked for are read."""

    def __init__(self, name: str, key: str, system: Any, path: str) -> None:
        self.name = name
        self._key, self._system, self._path = key, system, path
        try:
            with system.open(path, "rb") as file:
                self._header = read_npy_header(file, name)
        except OSError as error:
            raise DataError(f"{name} cannot be read: {first_line(error)}") from error
        shape = self._header.shape
        if self._header.fortran or not shape or not shape[0]:
            raise DataError(f"{name} holds no samples in C order; write it with numpy.save")
        self.num_samples = shape[0]
        self._row_bytes = self._header.data_bytes // shape[0]
        empty = np.empty((0, *shape[1:]), self._header.dtype)
        self.columns: tuple[TensorSpec, ...] = (column(name, key, empty),)

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Yield batches; consecutive rows are read at once."""
        wanted = np.arange(self.num_samples) if indices is None else indices
        with self._system.open(self._path, "rb") as file:
            for start in range(0, len(wanted), batch_size):
                rows = wanted[start : start + batch_size]
                runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
                yield {self._key: np.concatenate([self._rows(file, run) for run in runs])}

    def _rows(self, file: Any, run: Array) -> Array:
        file.seek(self._header.length + int(run[0]) * self._row_bytes)
        raw = file.read(len(run) * self._row_bytes)
        if len(raw) != len(run) * self._row_bytes:
            raise DataError(f"{self.name} ended before sample {run[-1]}")
        return np.frombuffer(raw, self._header.dtype).reshape(len(run), *self._header.shape[1:])


def _parquet(system: Any, path: str) -> ParquetFile:
    return ParquetFile(PurePosixPath(path).name, lambda: system.open(path, "rb"))


def _system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise RuntimeUnavailable(missing_extra("fsspec", "cluster", f"to read {url}")) from error
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        raise RuntimeUnavailable(f"{url} cannot be opened: {first_line(error)}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{url} cannot be opened: {first_line(error)}") from error
    return system, str(path)
