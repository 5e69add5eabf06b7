"""The inputs of a convolution's kernel at each position (im2col), as a view without copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtimes.base import Array


def windows(
    padded: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """View ``[…, *positions, *kernel]`` of an array ``[…, *sizes]`` that is already padded.

    There are no positions if the kernel is longer than the array. Definition:
    https://onnx.ai/onnx/operators/onnx__Conv.html
    """
    taps = len(kernel)
    sizes = padded.shape[-taps:]
    reach = [(width - 1) * step + 1 for width, step in zip(kernel, dilations, strict=True)]
    if any(size < length for size, length in zip(sizes, reach, strict=True)):
        places = places_of(sizes, kernel, strides, dilations)
        return np.zeros((*padded.shape[:-taps], *places, *kernel), padded.dtype)
    axes = tuple(range(-taps, 0))
    views: Array = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=axes)
    every: Any = (..., *(slice(None, None, step) for step in (*strides, *dilations)))
    return np.asarray(views[every])


def places_of(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Number of kernel positions along each axis of a padded array."""
    return [
        max(0, (size - (width - 1) * dilation - 1) // stride + 1)
        for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]


def rows_of(views: Array, chosen: Any, groups: int, taps: int) -> Array:
    """Rows ``[groups, rows, inputs]`` of ``views [samples, channels, *positions, *kernel]``.

    ``chosen``: row indices over samples and positions. ``taps``: number of spatial axes.
    """
    sample, *place = np.unravel_index(chosen, (len(views), *views.shape[2 : 2 + taps]))
    at: Any = (sample, slice(None), *place)
    rows: Array = views[at].reshape(len(chosen), groups, -1).transpose(1, 0, 2)
    return rows
