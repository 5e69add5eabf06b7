"""From what a user gives as data to a source of samples."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtimes.data.hub import HubSource, is_hub_dataset
from runtimes.data.image_folder import ImageFolder
from runtimes.data.image_options import ImageOptions
from runtimes.data.iterables import (
    SINGLE,
    as_array,
    as_columns,
    is_pair,
    is_tf_dataset,
    open_iterable,
)
from runtimes.data.numpy_files import open_npy, open_npz
from runtimes.data.parquet import ParquetFile, ParquetSource
from runtimes.data.remote import open_remote, url_of
from runtimes.data.sources import ArraySource, Source
from runtimes.data.tables import TABLE_SUFFIXES, is_table, open_table, read_table
from runtimes.errors import DataError

# Bytes of a Parquet file that is read whole; a larger one, row group by row group.
_MOST_AT_ONCE = 64 * 2**20


def open_source(source: Any, images: ImageOptions | None) -> Source:
    """The samples in what ``Dataset.open`` takes; raises ``DataError``."""
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), images)
    if images is not None:
        raise DataError("options of images are for a folder of images, and the data are none")
    if is_table(source) or is_hub_dataset(source):
        return open_table(source) if is_table(source) else HubSource(source)
    if isinstance(source, Mapping):
        return ArraySource(
            "the data",
            {str(key): as_array(value, f"the array {key!r}") for key, value in source.items()},
        )
    if not is_tf_dataset(source) and _is_array(source):
        return ArraySource("the data", {SINGLE: as_array(source, "the data")})
    if is_pair(source):
        return ArraySource("the data", as_columns(source, "the data"))
    return open_iterable(source)


def absolute(path: str | os.PathLike[str]) -> str:
    """``path`` for another process, which may run in another folder."""
    return url_of(path) or str(Path(path).absolute())


def _open_path(path: Path, images: ImageOptions | None) -> Source:
    url = url_of(path)
    if url is not None and images is None and not path.exists():
        return open_remote(url, SINGLE)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        tables = sorted(path.glob("*.parquet")) if images is None else []
        if tables:
            return ParquetSource(str(path), [_parquet(one) for one in tables])
        if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
            raise DataError(
                f"{path} is a Hugging Face data set as save_to_disk writes it: write it with "
                "to_parquet, or give what datasets.load_from_disk reads of it to the function in "
                "Python"
            )
        return ImageFolder(path, SINGLE, images)
    if images is not None:
        raise DataError(f"options of images are for a folder of images, and {path} is a file")
    return _open_file(path)


def _open_file(path: Path) -> Source:
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if head == b"\x93NUMPY":
        return open_npy(path, SINGLE)
    if head[:2] == b"PK":
        return open_npz(path)
    if head[:4] == b"PAR1" and path.stat().st_size > _MOST_AT_ONCE:
        return ParquetSource(str(path), [_parquet(path)])
    if head[:4] == b"PAR1" or path.suffix.lower() in TABLE_SUFFIXES:
        return read_table(path)
    raise DataError(
        f"{path} is not data that can be read; give an .npz (numpy.savez), an .npy, "
        "a .csv or .parquet table, or a folder of images"
    )


def _parquet(path: Path) -> ParquetFile:
    return ParquetFile(str(path), lambda: path.open("rb"))


def _is_array(source: Any) -> bool:
    if hasattr(source, "__array__") or hasattr(source, "__array_interface__"):
        return True
    while isinstance(source, list | tuple) and source:
        source = source[0]
        if isinstance(source, Mapping) or hasattr(source, "shape"):
            return False
    return isinstance(source, int | float | bool | str)
