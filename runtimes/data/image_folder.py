"""A folder of images as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.decode_images import (
    CHANNELS,
    GRAY_MODES,
    Transform,
    open_image,
    read_pixels,
    require_pillow,
)
from runtimes.data.image_files import class_labels, image_paths, unknown_to_keras
from runtimes.data.image_options import ImageOptions
from runtimes.data.sources import Columns, regroup
from runtimes.errors import DataError

__all__ = ["ImageFolder", "ImageOptions"]

_MODES = {"gray": "L", "rgb": "RGB", "rgba": "RGBA"}
_COLORS: dict[int, Any] = {1: "gray", 3: "rgb", 4: "rgba"}


class ImageFolder:
    """Images as arrays [samples, height, width, channels], in the order in which Keras reads them.

    Where the images lie in subfolders, each subfolder is a class and the labels are the
    subfolders' places in order of name, as ``keras.utils.image_dataset_from_directory`` has it.
    Unless ``options`` or the model say otherwise, a first image in gray makes all gray (one
    channel), any other makes all RGB. Images of other sizes than the first make the height and
    width dynamic. ``notes``: what was done to them that the user should know.
    """

    num_samples: int
    implied_labels = True

    def __init__(
        self,
        folder: Path,
        key: str,
        options: ImageOptions | None = None,
        *,
        rounded: bool = False,
        known: tuple[list[Path], tuple[str, ...]] | None = None,
    ) -> None:
        self.name = str(folder)
        self._folder, self._key = folder, key
        self.options = options or ImageOptions()
        require_pillow()
        self._known = known or _usable(folder, skip_broken=self.options.skip_broken)
        self._paths, self.notes = self._known
        self.num_samples = len(self._paths)
        self._mode = _MODES.get(self.options.color) or self._mode_of_first()
        channels = CHANNELS[self._mode]
        self._transform = Transform.of(self.options, channels, rounded=rounded)
        if self._transform.mixes and self.options.scale is None and self.options.offset is None:
            self.notes = (*self.notes, "pixels keep their values, 0…255")
        self.columns: tuple[TensorSpec, ...] = (
            TensorSpec(key, self._transform.dtype, (None, *self._shape(channels))),
        )
        self._labels = class_labels(folder, self._paths)
        if self._labels is not None:
            self.columns += (TensorSpec("labels", self._labels.dtype, (None,)),)

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Decode the images at ``indices``, a batch of one size at a time."""
        chosen = np.arange(self.num_samples) if indices is None else indices
        return regroup(self._one_by_one(chosen), None, batch_size, self.name)

    def whole_column(self, key: str) -> Array | None:
        """The labels, without decoding any image; None for the images."""
        return self._labels if key == "labels" else None

    def for_input(self, spec: TensorSpec) -> ImageFolder:
        """The images as a model's input wants them, in what ``options`` leave open.

        That is the colours, the size where it is fixed, the layout, and whole numbers.
        """
        shape = spec.shape
        if shape is None or len(shape) != 4:
            return self
        first = shape[1] in _COLORS and shape[3] not in _COLORS
        height, width, channels = (*shape[2:], shape[1]) if first else shape[1:]
        options = replace(self.options, channels_first=self.options.channels_first or first)
        if options.color == "auto" and isinstance(channels, int) and channels in _COLORS:
            options = replace(options, color=_COLORS[channels])
        note: tuple[str, ...] = ()
        if options.size is None and isinstance(height, int) and isinstance(width, int):
            here = self._sizes()
            if here != {(height, width)}:
                options = replace(options, size=(height, width))
                note = (
                    f"images are resized to {height}x{width}, which the model takes "
                    f"({options.resampling}, {options.fit})",
                )
        paths, notes = self._known
        return ImageFolder(
            self._folder,
            self._key,
            options,
            rounded=spec.dtype == np.uint8,
            known=(paths, (*notes, *note)),
        )

    def _one_by_one(self, rows: Array) -> Iterator[Columns]:
        for row in rows:
            sample = {self._key: self._decode(self._paths[row])[None]}
            if self._labels is not None:
                sample["labels"] = self._labels[row : row + 1]
            yield sample

    def _mode_of_first(self) -> str:
        with open_image(self._paths[0]) as first:
            return "L" if first.mode in GRAY_MODES else "RGB"

    def _sizes(self) -> set[tuple[int, int]]:
        """Height and width of all images, from the files' heads, which are quick to read."""
        found = set()
        for path in self._paths:
            with open_image(path) as image:
                found.add((image.height, image.width))
        return found

    def _shape(self, channels: int) -> tuple[int | str | None, ...]:
        """Of a sample."""
        sizes = self._sizes()  # also names a file that is no image before anything is done
        size: tuple[int | None, int | None] | None = self.options.size
        if size is None:
            heights, widths = {h for h, _ in sizes}, {w for _, w in sizes}
            size = (
                heights.pop() if len(heights) == 1 else None,
                widths.pop() if len(widths) == 1 else None,
            )
        return (channels, *size) if self.options.channels_first else (*size, channels)

    def _decode(self, path: Path) -> Array:
        if self.options.color == "auto" and self._mode == "L":
            with open_image(path) as image:
                if image.mode not in GRAY_MODES:
                    raise DataError(
                        f"{path} has colours and {self._paths[0]} is gray; make all images alike, "
                        "or say which: ImageOptions(color='rgb')"
                    )
        return self._transform(read_pixels(path, self._mode))


def _usable(folder: Path, *, skip_broken: bool) -> tuple[list[Path], tuple[str, ...]]:
    """The images to read, and what the user should know of the others."""
    paths = image_paths(folder)
    notes = unknown_to_keras(paths)
    if not skip_broken:
        return paths, notes
    good, broken = [], []
    for path in paths:
        try:
            read_pixels(path, "RGB")
        except DataError:
            broken.append(path)
        else:
            good.append(path)
    if not good:
        raise DataError(f"none of the {len(paths)} images in {folder} can be read")
    if broken:
        named = ", ".join(str(path.relative_to(folder)) for path in broken[:3])
        more = ", …" if len(broken) > 3 else ""
        notes += (f"{len(broken)} of {len(paths)} images cannot be read, left out: {named}{more}",)
    return good, notes
