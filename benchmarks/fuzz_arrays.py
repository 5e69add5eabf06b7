"""Ways to damage samples by what they mean: ``.npy``, ``.npz`` and images."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

_TYPES = (
    *("f2", "f8", ">f4", "i1", "i4", "i8", "u1", "u8", "?", "c8", "S3", "U2", "M8[s]", "V4", "O"),
    *("f4,i4", "(2,)f4", "g"),
)
_VALUES = (float("nan"), float("inf"), -float("inf"), 1e38, 0.0)
_KEYS = ("y", "X", "x.npy", "", "labels", "../x", "a/b", "é", "x" * 300)
_HEADERS = (
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,), }",
    b"{'descr': '<f4', 'fortran_order': 7, 'shape': [4, 8], }",
    b"{'descr': [('a', '<f4', (9999999,))], 'fortran_order': True, 'shape': (24,), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (24,), }",
    b"{'descr': '<f4', 'shape': (24, 8), }",
    b"{'descr': 'nobody', 'fortran_order': False, 'shape': (24, 8), }",
    b"[" * 2000,
    b"",
)


def damaged_npy(raw: bytes, rng: random.Random) -> bytes:
    """Another array, or a file that claims to be one."""
    if rng.random() < 0.3:
        return _false(rng)
    return _npy(_array(np.load(io.BytesIO(raw)), rng))


def damaged_npz(raw: bytes, rng: random.Random) -> bytes:
    """An archive with other arrays, or one that is wrong by itself."""
    with np.load(io.BytesIO(raw)) as loaded:
        arrays = {f"{name}.npy": _npy(loaded[name]) for name in loaded.files}
        chosen = rng.choice(loaded.files)
        other = _array(loaded[chosen], rng)
    name = f"{chosen}.npy"
    kind = rng.randrange(10)
    if kind <= 3:
        arrays[name] = _npy(other)
    elif kind == 4:
        del arrays[name]
    elif kind == 5:
        arrays[f"{rng.choice(_KEYS)}.npy"] = arrays.pop(name)
    elif kind == 6:
        arrays[rng.choice((f"{rng.choice(_KEYS)}.npy", "notes.txt", "x/"))] = _npy(other)
    elif kind == 7:
        arrays[name] = _false(rng)
    packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", packed) as archive:
        for key, content in arrays.items():
            archive.writestr(key, content)
        if kind == 8:  # twice the same name
            with warnings.catch_warnings(action="ignore"):
                archive.writestr(name, arrays.get(name, b""))
    written = bytearray(found.getvalue())
    if kind == 9:  # the directory says something else than the members
        place = written.rfind(b"PK\x01\x02")
        at = place + rng.choice((8, 10, 16, 20, 24, 28, 42))
        written[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, rng.randbytes(4)))
    return bytes(written)


def _array(array: Any, rng: random.Random) -> Any:
    shapes = ((-1,), (1, *array.shape), (*array.shape, 1), (len(array), -1))
    ways: tuple[Callable[[], Any], ...] = (
        lambda: _typed(array, rng.choice(_TYPES)),
        lambda: _marked(array, rng),
        lambda: array[: rng.choice((0, 0, 1, 2, 3))],
        lambda: array[: len(array) - rng.choice((1, 5))],
        lambda: array.reshape(rng.choice(shapes)),
        lambda: array.reshape(-1)[0],
        lambda: np.full_like(array, rng.choice((0, -1, 1, 99))),
        lambda: np.asfortranarray(array),
    )
    return rng.choice(ways)()


def _marked(array: Any, rng: random.Random) -> Any:
    """A few values, or all, that are no samples."""
    marked = array.copy()
    values = _VALUES if array.dtype.kind == "f" else (-1, 2**31)
    marked.reshape(-1)[:: rng.choice((1, 7, 10**6))] = rng.choice(values)
    return marked


def _typed(array: Any, dtype: str) -> Any:
    kind = np.dtype(dtype)
    if kind.names or kind.subdtype or kind.kind in "VM":
        return np.zeros(len(array), dtype)
    return array.astype(dtype)


def _npy(array: Any) -> bytes:
    found = io.BytesIO()
    np.save(found, array, allow_pickle=True)
    return found.getvalue()


def _false(rng: random.Random) -> bytes:
    """A header that is none, or promises more than follows."""
    header = rng.choice(_HEADERS)
    version = rng.choice((1, 1, 1, 2, 3, 99))
    size = rng.choice((len(header), len(header), 65535))
    length = struct.pack("<H" if version == 1 else "<I", size)
    return b"\x93NUMPY" + bytes((version, 0)) + length + header + bytes(rng.choice((0, 64, 768)))


def damaged_image(raw: bytes, rng: random.Random) -> bytes:
    """A picture of another mode, size or format, or the head of a huge one."""
    from PIL import Image

    kind = rng.randrange(4)
    if kind == 0 and raw.startswith(b"\x89PNG"):
        sizes = rng.choice(((2**31 - 1, 2**31 - 1), (0, 0), (30_000, 30_000), (8, 9)))
        return raw[:16] + struct.pack(">II", *sizes) + raw[24:]
    modes = ("1", "L", "LA", "P", "RGBA", "CMYK", "I", "F", "HSV")
    with Image.open(io.BytesIO(raw)) as original:
        if kind == 1:
            image = original.resize(rng.choice(((1, 1), (8, 9), (300, 2))))
        else:
            image = original.convert(rng.choice(modes))
        found = io.BytesIO()
        for name in (rng.choice(("png", "gif", "jpeg", "tiff", "webp", "bmp", "ico")), "tiff"):
            try:
                image.save(found, name)
                break
            except OSError:  # this format has not that mode
                found = io.BytesIO()
    return found.getvalue()
