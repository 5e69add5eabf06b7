"""A few samples that go with a model: to warm it up, and to see that it still answers."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from io import BytesIO

import numpy as np

from runtimes.base import Array
from runtimes.data.dataset import Dataset

WARMUP_SAMPLES = 8


def warmup_bytes(data: Dataset, seed: int) -> bytes:
    """An ``.npz`` of samples that have one shape, the same bytes for the same samples."""
    few = data.without_labels().sampled(WARMUP_SAMPLES, seed)
    return npz_bytes(next(iter(few.batches(WARMUP_SAMPLES))).feed)


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """An ``.npz`` of arrays by name, the same bytes for the same arrays."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # numpy.savez cannot name an array "file"
        for name, values in sorted(arrays.items()):
            entry = BytesIO()
            np.lib.format.write_array(entry, _plain(values), (1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())
    return file.getvalue()


def _plain(values: Array) -> Array:
    """As a file of NumPy can hold it: text of one width, and no float of other libraries."""
    if values.dtype.kind == "O":
        return values.astype(str)
    return values.astype(np.float32) if values.dtype.kind == "V" else values
