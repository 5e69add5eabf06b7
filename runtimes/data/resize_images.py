"""Images brought to a size as ``tf.image.resize`` does it, which Keras' loaders call.

Without antialiasing: every new pixel is a mix of the four old ones around its place, however much
the image shrinks. Pillow averages over all pixels that a new one covers, which gives other images.
"""

from __future__ import annotations

import numpy as np

from runtimes.base import Array


def bilinear(pixels: Array, size: tuple[int, int]) -> Array:
    """``pixels`` [height, width, channels] at ``size`` (height, width), float32."""
    if pixels.shape[:2] == size:
        return pixels.astype(np.float32)
    top, bottom, down = _between(pixels.shape[0], size[0])
    left, right, across = _between(pixels.shape[1], size[1])
    wide = pixels.astype(np.float32)
    across, down = across[None, :, None], down[:, None, None]

    def row(places: Array) -> Array:
        first, second = wide[places][:, left], wide[places][:, right]
        mixed: Array = first + (second - first) * across
        return mixed

    upper, lower = row(top), row(bottom)
    resized: Array = upper + (lower - upper) * down
    return resized


def nearest(pixels: Array, size: tuple[int, int]) -> Array:
    """``pixels`` [height, width, channels] at ``size``, each one of the old."""
    rows, columns = (
        np.minimum(np.floor(_centers(old, new) + np.float32(0.5)).astype(np.int64), old - 1)
        for old, new in zip(pixels.shape[:2], size, strict=True)
    )
    return np.asarray(pixels[rows][:, columns])


def cropped(pixels: Array, size: tuple[int, int]) -> Array:
    """The middle of an image that has the proportions of ``size``.

    As ``crop_to_aspect_ratio`` of Keras' loader has it.
    """
    height, width = pixels.shape[:2]
    rows = max(1, min(height, int(width * size[0] / size[1])))
    columns = max(1, min(width, int(height * size[1] / size[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def inside(old: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The largest size with the proportions of ``old`` within ``size``, and where it begins there.

    As ``tf.image.resize_with_pad`` has it, in float32: that is Keras' ``pad_to_aspect_ratio``.
    """
    ratio = max(np.float32(a) / np.float32(b) for a, b in zip(old, size, strict=True))
    exact = [np.float32(one) / ratio for one in old]
    starts = [max(0, int((np.float32(b) - a) / 2)) for a, b in zip(exact, size, strict=True)]
    return (max(1, int(exact[0])), max(1, int(exact[1]))), (starts[0], starts[1])


def _between(old: int, new: int) -> tuple[Array, Array, Array]:
    """The two old places that each new one lies between, and how far it is from the first."""
    centers = _centers(old, new)
    floor = np.floor(centers)
    first = np.maximum(floor, 0).astype(np.int64)
    second = np.minimum(np.ceil(centers), old - 1).astype(np.int64)
    return first, second, (centers - floor).astype(np.float32)


def _centers(old: int, new: int) -> Array:
    """Where the middles of new pixels lie among the old ones, in float32 as TensorFlow has it."""
    scale = np.float32(old) / np.float32(new)
    centers: Array = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    return centers
