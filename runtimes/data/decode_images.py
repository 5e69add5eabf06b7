"""One image file as an array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.data.image_options import ImageOptions
from runtimes.data.resize_images import bilinear, cropped, inside, nearest
from runtimes.errors import DataError
from runtimes.extras import missing_extra

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
GRAY_MODES = {"1", "L", "LA", "I;16", "I;16B", "I"}

_WAY_OUT = (
    "fix or remove it, or leave such images out: --skip-broken-images "
    "(ImageOptions(skip_broken=True))"
)


def require_pillow() -> Any:
    """``PIL.Image``; ``DataError`` where Pillow is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            f"{missing_extra('Pillow', 'images', 'a folder of images needs it')}; "
            "or save the images as an .npz file"
        ) from error
    return Image


def open_image(path: Path) -> Any:
    """The image at ``path`` in Pillow, of which only the head has been read."""
    pillow = require_pillow()
    try:
        return pillow.open(path)
    except MemoryError:
        raise
    except Exception as error:  # a picture too large to be one is no OSError
        raise DataError(
            f"{path} is not an image that can be read: {_reason(error)}; {_WAY_OUT}"
        ) from error


def read_pixels(path: Path, mode: str) -> Array:
    """The pixels [height, width, channels], uint8, in Pillow's ``mode``: L, RGB or RGBA.

    A gray image of a JPEG is its luminance as it is stored, and 16 bits become the upper 8, as
    TensorFlow decodes them.
    """
    with open_image(path) as image:
        try:
            if mode == "L" and image.format == "JPEG":
                image.draft("L", image.size)
            pixels = np.asarray(_eight_bits(image).convert(mode))
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder makes of damaged bytes
            raise DataError(f"{path} is a damaged image: {_reason(error)}; {_WAY_OUT}") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _eight_bits(image: Any) -> Any:
    if not image.mode.startswith("I;16"):
        return image
    upper = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    return require_pillow().fromarray(upper)


def _reason(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


@dataclass(frozen=True)
class Transform:
    """Size, scale and layout of one image [height, width, channels].

    ``dtype``: uint8 where that can hold the values (``rounded``: they are made to), else float32.
    """

    options: ImageOptions
    scale: Array | None
    offset: Array | None
    rounded: bool = False

    @classmethod
    def of(cls, options: ImageOptions, channels: int, *, rounded: bool = False) -> Transform:
        """From options; ``DataError`` for as many numbers as there are no channels."""
        if options.scale is None and options.offset is None:
            return cls(options, None, None, rounded)
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
        return cls(options, numbers[0], numbers[1])

    @property
    def mixes(self) -> bool:
        """Whether resizing gives values between those of pixels."""
        one = self.options
        return one.size is not None and one.resampling == "bilinear" and not one.antialias

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array that comes out."""
        whole = self.scale is None and (self.rounded or not self.mixes)
        return np.dtype(np.uint8 if whole else np.float32)

    def __call__(self, pixels: Array) -> Array:
        """Bring one image to its size, scale and layout."""
        if self.options.size is not None:
            pixels = self._resized(pixels, self.options.size)
        if self.scale is not None and self.offset is not None:
            pixels = pixels.astype(np.float32) * self.scale + self.offset
        elif self.dtype == np.uint8 and pixels.dtype != np.uint8:
            pixels = np.rint(pixels).astype(np.uint8)
        if self.options.channels_first:
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels)

    def _resized(self, pixels: Array, size: tuple[int, int]) -> Array:
        if self.options.fit == "crop":
            pixels = cropped(pixels, size)
        elif self.options.fit == "pad":
            part, (top, left) = inside(pixels.shape[:2], size)
            found = self._stretched(pixels, part)
            canvas = np.zeros((*size, pixels.shape[2]), found.dtype)
            canvas[top : top + part[0], left : left + part[1]] = found
            return canvas
        return self._stretched(pixels, size)

    def _stretched(self, pixels: Array, size: tuple[int, int]) -> Array:
        if self.mixes:
            return bilinear(pixels, size)
        if self.options.resampling == "nearest":
            return nearest(pixels, size)
        if pixels.shape[:2] == size:
            return pixels
        pillow = require_pillow()
        method = getattr(pillow.Resampling, self.options.resampling.upper())
        image = pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        found = np.asarray(image.resize((size[1], size[0]), method))
        return found[..., None] if found.ndim == 2 else found
