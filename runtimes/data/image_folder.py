"""A folder of images as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.sources import Columns, regroup
from runtimes.errors import DataError
from runtimes.extras import missing_extra

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
_GRAY_MODES = {"1", "L", "LA"}


@dataclass(frozen=True)
class ImageOptions:
    """How images become arrays.

    ``size``: height and width that all are brought to, None to leave them as they are. ``fit``:
    ``stretch`` changes the proportions, ``crop`` fills the size and cuts off what is beyond,
    ``pad`` keeps everything and fills up with zeros. ``resampling`` is Pillow's filter. ``scale``
    and ``offset`` (numbers, or one for each channel) make float32 arrays of value · scale + offset;
    without either they stay uint8. ``color``: ``auto`` goes by the first image, ``rgb``, ``gray``.
    ``channels_first``: [channels, height, width].
    """

    size: tuple[int, int] | None = None
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    scale: float | Sequence[float] | None = None
    offset: float | Sequence[float] | None = None
    color: Literal["auto", "rgb", "gray"] = "auto"
    channels_first: bool = False

    def __post_init__(self) -> None:
        for name in ("fit", "resampling", "color"):
            known = get_args(get_type_hints(ImageOptions)[name])
            if getattr(self, name) not in known:
                raise DataError(
                    f"{name} of images is {', '.join(known)}; not {getattr(self, name)}"
                )
        if self.size is not None and min(self.size) < 1:
            raise DataError(f"the size of images is height and width, not {self.size}")


class ImageFolder:
    """Images as arrays [samples, height, width, channels], in order of path.

    Where the images lie in subfolders, each subfolder is a class and the labels are the
    subfolders' places in order of name, as ``keras.utils.image_dataset_from_directory`` has it.
    Unless ``options`` say otherwise, a first image in gray makes all gray (one channel), any
    other makes all RGB. Images of other sizes than the first make the height and width dynamic.
    """

    num_samples: int
    implied_labels = True

    def __init__(self, folder: Path, key: str, options: ImageOptions | None = None) -> None:
        self.name = str(folder)
        self._key = key
        self._options = options or ImageOptions()
        self._pillow = _require_pillow()
        self._paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in _ENDINGS and not path.name.startswith(".") and path.is_file()
        )
        if not self._paths:
            raise DataError(f"{folder} holds no images ({', '.join(sorted(_ENDINGS))})")
        self.num_samples = len(self._paths)
        color = self._options.color
        with self._open(self._paths[0]) as first:
            gray = color == "gray" or (color == "auto" and first.mode in _GRAY_MODES)
        self._mode = "L" if gray else "RGB"
        self._transform = _Transform.of(self._options, 1 if gray else 3)
        self.columns: tuple[TensorSpec, ...] = (
            TensorSpec(key, self._transform.dtype, (None, *self._shape())),
        )
        self._labels = _class_labels(folder, self._paths)
        if self._labels is not None:
            self.columns += (TensorSpec("labels", self._labels.dtype, (None,)),)

    def read(self, indices: Array | None, batch_size: int) -> Iterator[Columns]:
        """Decode the images at ``indices``, a batch of one size at a time."""
        chosen = np.arange(self.num_samples) if indices is None else indices
        return regroup(self._one_by_one(chosen), None, batch_size, self.name)

    def whole_column(self, key: str) -> Array | None:
        """The labels, without decoding any image; None for the images."""
        return self._labels if key == "labels" else None

    def _one_by_one(self, rows: Array) -> Iterator[Columns]:
        for row in rows:
            sample = {self._key: self._decode(self._paths[row])[None]}
            if self._labels is not None:
                sample["labels"] = self._labels[row : row + 1]
            yield sample

    def _shape(self) -> tuple[int | str | None, ...]:
        """Of a sample; sizes are read from the files' heads, which is quick."""
        channels = 1 if self._mode == "L" else 3
        size: tuple[int | None, int | None]
        if self._options.size is not None:
            size = self._options.size
        else:
            found = set()
            for path in self._paths:
                with self._open(path) as image:
                    found.add(image.size)
            widths, heights = {w for w, _ in found}, {h for _, h in found}
            size = (
                heights.pop() if len(heights) == 1 else None,
                widths.pop() if len(widths) == 1 else None,
            )
        return (channels, *size) if self._options.channels_first else (*size, channels)

    def _decode(self, path: Path) -> Array:
        with self._open(path) as image:
            if (
                self._options.color == "auto"
                and self._mode == "L"
                and image.mode not in _GRAY_MODES
            ):
                raise DataError(
                    f"{path} has colours and {self._paths[0]} is gray; make all images alike, "
                    "or say which: ImageOptions(color='rgb')"
                )
            try:
                pixels = np.asarray(self._fitted(image.convert(self._mode)))
            except MemoryError:
                raise
            except Exception as error:  # whatever a decoder makes of damaged bytes
                raise DataError(f"{path} is a damaged image: {_reason(error)}") from error
        return self._transform(pixels[..., None] if pixels.ndim == 2 else pixels)

    def _fitted(self, image: Any) -> Any:
        size = self._options.size
        if size is None or image.size == (size[1], size[0]):
            return image
        from PIL import ImageOps

        wanted = (size[1], size[0])
        method = getattr(self._pillow.Resampling, self._options.resampling.upper())
        if self._options.fit == "crop":
            return ImageOps.fit(image, wanted, method)
        if self._options.fit == "pad":
            return ImageOps.pad(image, wanted, method)
        return image.resize(wanted, method)

    def _open(self, path: Path) -> Any:
        try:
            return self._pillow.open(path)
        except MemoryError:
            raise
        except Exception as error:  # a picture too large to be one is no OSError
            raise DataError(f"{path} is not an image that can be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


@dataclass(frozen=True)
class _Transform:
    """Scaling and layout of one image [height, width, channels]."""

    scale: Array | None
    offset: Array | None
    channels_first: bool

    @classmethod
    def of(cls, options: ImageOptions, channels: int) -> _Transform:
        if options.scale is None and options.offset is None:
            return cls(None, None, options.channels_first)
        numbers = []
        for name, value in (("scale", options.scale), ("offset", options.offset)):
            default = 1.0 if name == "scale" else 0.0
            array = np.asarray(default if value is None else value, np.float32)
            if array.shape not in ((), (1,), (channels,)):
                raise DataError(
                    f"{name} of images is one number or one a channel ({channels}), "
                    f"not {array.size}"
                )
            numbers.append(array)
        return cls(numbers[0], numbers[1], options.channels_first)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.scale is None else np.float32)

    def __call__(self, pixels: Array) -> Array:
        if self.scale is not None and self.offset is not None:
            pixels = pixels.astype(np.float32) * self.scale + self.offset
        if self.channels_first:
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels)


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
            f"{missing_extra('Pillow', 'images', 'a folder of images needs it')}; "
            "or save the images as an .npz file"
        ) from error
    return Image
