"""A folder of images as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.errors import DataError
from runtimes.samples import Columns

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
_GRAY_MODES = {"1", "L", "LA"}


class ImageFolder:
    """Images of one size as uint8 arrays [samples, height, width, channels], in order of path.

    Where the images lie in subfolders, each subfolder is a class and the labels are the
    subfolders' places in order of name, as ``keras.utils.image_dataset_from_directory`` has it.
    A first image in gray makes all gray (one channel), any other makes all RGB.
    """

    num_samples: int

    def __init__(self, folder: Path, key: str) -> None:
        self.name = str(folder)
        self._key = key
        self._pillow = _require_pillow()
        self._paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in _ENDINGS and not path.name.startswith(".") and path.is_file()
        )
        if not self._paths:
            raise DataError(f"{folder} holds no images ({', '.join(sorted(_ENDINGS))})")
        self.num_samples = len(self._paths)
        with self._open(self._paths[0]) as first:
            self._mode = "L" if first.mode in _GRAY_MODES else "RGB"
            self._size = first.size
        width, height = self._size
        channels = 1 if self._mode == "L" else 3
        self.columns: tuple[TensorSpec, ...] = (
            TensorSpec(key, np.dtype(np.uint8), (None, height, width, channels)),
        )
        self._labels = _class_labels(folder, self._paths)
        if self._labels is not None:
            self.columns += (TensorSpec("labels", self._labels.dtype, (None,)),)

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Decode the images at ``indices``, a batch at a time."""
        chosen = np.arange(self.num_samples) if indices is None else indices
        for start in range(0, len(chosen), batch_size):
            rows = chosen[start : start + batch_size]
            batch = {self._key: np.stack([self._decode(self._paths[row]) for row in rows])}
            if self._labels is not None:
                batch["labels"] = self._labels[rows]
            yield batch

    def _decode(self, path: Path) -> Array:
        with self._open(path) as image:
            if image.size != self._size:
                raise DataError(
                    f"{path} is {image.size[0]}×{image.size[1]} pixels and {self._paths[0]} is "
                    f"{self._size[0]}×{self._size[1]}; bring all images to one size"
                )
            if self._mode == "L" and image.mode not in _GRAY_MODES:
                raise DataError(
                    f"{path} has colours and {self._paths[0]} is gray; make all images alike"
                )
            try:
                pixels = np.asarray(image.convert(self._mode))
            except (OSError, SyntaxError) as error:
                raise DataError(f"{path} is a damaged image: {error}") from error
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def _open(self, path: Path) -> Any:
        try:
            return self._pillow.open(path)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path} is not an image that can be read: {error}") from error


def _class_labels(folder: Path, paths: list[Path]) -> Array | None:
    parents = [path.relative_to(folder).parts[0] for path in paths]
    nested = [len(path.relative_to(folder).parts) > 1 for path in paths]
    if not any(nested):
        return None
    if not all(nested):
        stray = paths[nested.index(False)]
        raise DataError(
            f"{folder} has images in subfolders (classes) and beside them ({stray.name}); "
            "put every image into its class's folder, or all into one folder"
        )
    classes = {name: place for place, name in enumerate(sorted(set(parents)))}
    return np.array([classes[name] for name in parents], np.int64)


def _require_pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "reading a folder of images needs Pillow: pip install pillow; "
            "or save the images as an .npz file"
        ) from error
    return Image
