"""What happens to an image on its way: one sample at a time, the axes of its pixels given."""

from __future__ import annotations

import numpy as np

from runtimes.base import Array


def pixel_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """The axes of height and width in a sample of this shape: channels are the shorter end."""
    return (1, 2) if shape[0] < shape[-1] else (0, 1)


def blurred(image: Array, axes: tuple[int, int], sigma: float) -> Array:
    """The image behind a Gaussian of ``sigma`` pixels; beyond the edge, the edge goes on."""
    reach = max(1, round(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in axes:
        image = sum(
            (weight * moved(image, axis, step - reach) for step, weight in enumerate(weights)),
            np.zeros_like(image),
        )
    return image


def shifted(image: Array, axes: tuple[int, int], pixels: int, random: np.random.Generator) -> Array:
    """The image moved by ``pixels`` in one of eight directions; the edge fills the gap."""
    directions = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
    for axis, direction in zip(axes, directions[random.integers(8)], strict=True):
        image = moved(image, axis, direction * pixels)
    return image


def moved(image: Array, axis: int, pixels: int) -> Array:
    """The image moved along ``axis``; the edge fills the gap."""
    size = image.shape[axis]
    found: Array = np.take(image, np.clip(np.arange(size) - pixels, 0, size - 1), axis=axis)
    return found
