"""From the tensors of some samples to the values of features: ``[samples, features, elements]``.

Large inputs are pooled: an image of 27,648 values has, for each channel, the histogram of its
pixels, brightness, contrast and gradient energy, and the brightness of a coarse grid; not 27,648
histograms. What a feature has one value of a sample for has one element; pixels, steps of a
sequence and tokens have many, and a sample falls into several bins at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from runtimes.base import Array
from runtimes.monitor.layout import Form

MOST_COLUMNS, MOST_CHANNELS, MOST_STEPS_COLUMNS, GRID = 64, 4, 32, 4
"""Features of a vector, of the channels of an image, of the columns of a sequence, and cells of
the grid over an image on a side. More columns and channels are averaged, neighbours together."""

_PIXELS = 1024  # of a channel that are looked at, spread evenly


def measure(form: Form, array: Array, features: int) -> Array:
    """The values of a block's features, float64 ``[samples, features, elements]``."""
    return _MEASURES[form](array, features)


def columns(array: Array, features: int) -> Array:
    """The elements of a sample, or the means of as many stretches of them."""
    flat = array.reshape(len(array), -1).astype(np.float64)
    return _pooled(flat, features)[:, :, None]


def pixels(array: Array, features: int) -> Array:
    """Pixels by channel, spread evenly over the image."""
    image = _channels(array, features)
    flat = image.reshape(len(image), -1, features)
    stride = max(1, flat.shape[1] // _PIXELS)
    return np.ascontiguousarray(flat[:, ::stride].transpose(0, 2, 1))


def image_statistics(array: Array, features: int) -> Array:
    """Brightness, contrast and gradient energy of each channel, then the grid's brightness."""
    count = (features - GRID * GRID) // 3
    image = _channels(array, count)
    whole = (1, 2)
    with np.errstate(invalid="ignore", over="ignore"):
        parts = [
            image.mean(whole),
            image.std(whole),
            _gradient(image, 1) + _gradient(image, 2),
            _grid(image.mean(-1)).reshape(len(image), -1),
        ]
    return np.concatenate(parts, axis=1)[:, :, None]


def steps(array: Array, features: int) -> Array:
    """The values of a sequence's columns at all steps."""
    return _sequence(array, features).transpose(0, 2, 1)


def changes(array: Array, features: int) -> Array:
    """How much a sequence's columns change from step to step, on average."""
    rows = _sequence(array, features)
    with np.errstate(invalid="ignore"):
        change = np.abs(np.diff(rows, axis=1))
        found = change.mean(1) if change.shape[1] else np.zeros((len(rows), features))
    return found[:, :, None]


def tokens(array: Array, features: int) -> Array:
    """Indices or strings as they are."""
    return array.reshape(len(array), features, -1)


def classes(array: Array, features: int) -> Array:
    """The places of the largest values along the last axis."""
    return np.asarray(array.argmax(axis=-1)).reshape(len(array), features, -1)


def score(array: Array, features: int) -> Array:
    """The largest values along the last axis."""
    largest: Array = array.max(axis=-1).reshape(len(array), features, -1).astype(np.float64)
    return largest


def _as_it_is(array: Array, features: int) -> Array:
    """What the graph or the shadow run has measured already."""
    measured: Array = array.reshape(len(array), features, -1).astype(np.float64)
    return measured


_MEASURES: Mapping[Form, Callable[[Array, int], Array]] = {
    "columns": columns,
    "pixels": pixels,
    "image": image_statistics,
    "steps": steps,
    "changes": changes,
    "tokens": tokens,
    "classes": classes,
    "score": score,
    "ends": _as_it_is,
    "disagreement": _as_it_is,
    "noise": _as_it_is,
}


def image_channels(shape: tuple[int, ...]) -> int:
    """Channels of an image of this shape, samples included, that get features of their own."""
    return min(MOST_CHANNELS, shape[1] if shape[1] < shape[-1] else shape[-1])


def _channels(array: Array, features: int) -> Array:
    """Images as ``[samples, height, width, channels]``; channels are the shorter end."""
    image = np.moveaxis(array, 1, -1) if array.shape[1] < array.shape[-1] else array
    image = image.reshape(len(image), image.shape[1], -1, image.shape[-1]).astype(np.float64)
    return _pooled(image, features)


def _sequence(array: Array, features: int) -> Array:
    return _pooled(array.astype(np.float64), features)


def _pooled(array: Array, features: int) -> Array:
    """The last axis, averaged over neighbours where it is longer than ``features``."""
    size = array.shape[-1]
    if size == features:
        return array
    if size < features:  # a dynamic axis that is shorter here: nothing to compare it with
        missing = np.full((*array.shape[:-1], features - size), np.nan)
        return np.concatenate([array, missing], axis=-1)
    places = np.arange(features) * size // features
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(array, places, axis=-1)
    return np.asarray(sums / np.diff([*places, size]))


def _gradient(image: Array, axis: int) -> Array:
    """The mean square of the differences of neighbours along an axis."""
    difference = np.diff(image, axis=axis)
    if not difference.size:
        return np.zeros((len(image), image.shape[-1]))
    return np.asarray((difference * difference).mean((1, 2)))


def _grid(image: Array) -> Array:
    """Means over the cells of a coarse grid."""
    for axis in (1, 2):
        size = image.shape[axis]
        places = np.arange(GRID) * size // GRID
        if size < GRID:
            image = np.take(image, places, axis=axis)
            continue
        sums = np.add.reduceat(image, places, axis=axis)
        widths = np.diff([*places, size])
        image = sums / (widths[:, None] if axis == 1 else widths)
    return image
