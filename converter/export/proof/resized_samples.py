"""The user's samples at other sizes: cut, or repeated from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from converter.export.proof.random_samples import Sample
from runtimes.base import Array, TensorSpec
from runtimes.keras_models.signature import KerasSignature

Sizes = Sequence[Callable[[int], int]]
"""Functions from a size to another one, to be tried in turn; equal sizes stay equal."""

# The first gives mostly odd sizes; the others keep sizes divisible, as pooling and heads require.
OTHER_SIZES: Sizes = (
    lambda size: (3 * size // 4) | 1,
    lambda size: size // 2,
    lambda size: size * 2,
)

SHORT: Sizes = (lambda _: 2, lambda _: 3, lambda _: 5, lambda _: 8)


def resized(signature: KerasSignature, feed: dict[str, Array], sizes: Sizes) -> Iterator[Sample]:
    """Yield ``feed`` with a different size for every dynamic dimension but the batch."""
    for other in sizes:
        found = {spec.name: _resized(spec, feed[spec.name], other) for spec in signature.inputs}
        changed = any(found[name].shape != values.shape for name, values in feed.items())
        if changed and all(values.size for values in found.values()):
            yield Sample(found, independent=None)


def _resized(spec: TensorSpec, values: Array, other: Callable[[int], int]) -> Array:
    for axis, dim in enumerate(spec.shape or ()):
        if axis > 0 and not isinstance(dim, int):
            size = values.shape[axis]
            values = np.take(values, np.arange(max(other(size), 0)), axis=axis, mode="wrap")
    return values
