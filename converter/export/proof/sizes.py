"""Sizes to try for the dynamic dimensions of a model's inputs, until the model accepts one.

A network that halves its input five times needs at least 32, a table of positions allows only
small sizes, and a kernel needs at least its own length. Each round has different sizes, so that a
file that is correct at one size only fails at another. The first sizes of the last round are odd,
which strides and pooling have to handle in practice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from runtimes.base import TensorSpec
from runtimes.keras_models.parts import all_layers
from runtimes.keras_models.signature import KerasSignature

ROUNDS = 3

Sharing = Literal["none", "axes", "all"]
"""Which dynamic dimensions share a size: none, equal axes of different inputs, or all."""

_SPATIAL = (
    (64, 96, 160, 224, 299, 32, 16, 512),
    (128, 160, 224, 288, 363, 48, 24, 576),
    (75, 192, 107, 171, 320, 37, 19, 517),
)
_LENGTHS = (
    (16, 32, 64, 256, 8, 4, 1024, 4096, 2),
    (24, 40, 72, 264, 10, 5, 1032, 4104, 3),
    (19, 48, 37, 75, 267, 12, 7, 3, 1019, 4099, 1),
)
_MOST_ELEMENTS = 1 << 24  # of an input, where a sample of fewer can be drawn
_MOST = {True: 1024, False: 16384}  # limit for sizes that windows require


@dataclass(frozen=True)
class Attempt:
    """Shapes of all inputs to try; ``number`` counts the sizes, ``sharing`` is which are equal."""

    number: int
    sharing: Sharing
    shapes: tuple[tuple[int, ...], ...]


def attempts(
    model: Any, signature: KerasSignature, batch: int, size_round: int
) -> Sequence[Attempt]:
    """What to try in one round, the most informative first; one attempt if nothing is dynamic.

    If all sizes of the second round are refused, those of the first round follow: a model that
    accepts only one size is proven at that size. Three free dimensions and more of an input soon
    exhaust the memory, so what is too large is left out.
    """
    found = list(_attempts(model, signature, batch, size_round))
    return [one for one in found if _elements(one) <= _MOST_ELEMENTS] or [min(found, key=_elements)]


def _elements(attempt: Attempt) -> int:
    """Of the largest input."""
    return max(map(math.prod, attempt.shapes), default=0)


def _attempts(
    model: Any, signature: KerasSignature, batch: int, size_round: int
) -> Iterator[Attempt]:
    window = needed_size(model)
    sizes = zip(_sizes(True, window, size_round), _sizes(False, window, size_round), strict=True)
    sharings: tuple[Sharing, ...] = ("none", "axes", "all")
    tried: set[object] = set()
    for (number, (spatial, length)), sharing in product(enumerate(sizes), sharings):
        found = tuple(
            _shape(spec, index, batch, spatial if _is_spatial(spec) else length, sharing)
            for index, spec in enumerate(signature.inputs)
        )
        if found not in tried:
            tried.add(found)
            yield Attempt(number, sharing, found)


def needed_size(model: Any) -> int:
    """The input size that the windows of all layers need, if the layers form a single chain.

    If they do not, it is too large, which only makes the sample larger.
    """
    needed = 1
    for layer in reversed(all_layers(model)):
        window = max(map(_largest, (_of(layer, "kernel_size"), _of(layer, "pool_size"))))
        if window > 1 and "Transpose" not in type(layer).__name__:
            stride = _largest(_of(layer, "strides"))
            dilation = _largest(_of(layer, "dilation_rate"))
            needed = (needed - 1) * stride + (window - 1) * dilation + 1
    return needed


def _of(layer: Any, name: str) -> Any:
    return getattr(layer, name, None)


def _largest(sizes: Any) -> int:
    given = sizes if isinstance(sizes, list | tuple) else [sizes]
    return max((size for size in given if isinstance(size, int)), default=1)


def _sizes(spatial: bool, window: int, size_round: int) -> Sequence[int]:
    """The sizes of one round; both kinds have the same number of sizes."""
    table = _SPATIAL if spatial else _LENGTHS
    own = list(table[size_round])
    own.insert(4, max(min(window, _MOST[spatial]), own[0]) + 5 * size_round)
    longest = max(len(row) for row in (*_SPATIAL, *_LENGTHS)) + 1
    own += own[-1:] * (longest - len(own))
    return own if size_round != 1 else [*own, *_sizes(spatial, window, 0)]


def _is_spatial(spec: TensorSpec) -> bool:
    """Whether the dynamic dimensions are heights and widths; a number of whole images is a length.

    A model that takes any number of frames or masks may compute something for each, in memory that
    an image's sizes would exhaust.
    """
    shape = spec.shape or ()
    dynamic = [axis for axis, dim in enumerate(shape) if axis > 0 and not isinstance(dim, int)]
    return len(shape) == 4 or (len(shape) > 4 and dynamic != [1])


def _shape(
    spec: TensorSpec, index: int, batch: int, size: int, sharing: Sharing
) -> tuple[int, ...]:
    shape = []
    for axis, dim in enumerate(spec.shape or (None,)):
        offset = {"none": axis - 1 + 3 * index, "axes": axis - 1, "all": 0}[sharing]
        dynamic = batch if axis == 0 else size + _step(size, _is_spatial(spec)) * offset
        shape.append(dim if isinstance(dim, int) else dynamic)
    return tuple(shape)


def _step(size: int, spatial: bool) -> int:
    """The difference between the sizes of two dimensions; small if the size is small."""
    if spatial:
        return 32 if size >= 64 else 8
    return 4 if size >= 16 else 1
