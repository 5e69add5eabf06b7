"""Telling which value of one model is which value of another, without keeping either.

Two frameworks lay the same activations out in other orders of axes. The means and root mean squares
along each axis (all others summed over) move with the axes and are small, so they are kept in the
place of the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from runtimes.base import Array

_MAX_AXES = 6


@dataclass(frozen=True)
class Fingerprint:
    """The shape of a value and, for each axis, [size, 2]: mean and root mean square."""

    shape: tuple[int, ...]
    marginals: tuple[Array, ...]


@dataclass(frozen=True)
class Alignment:
    """How a candidate's value becomes one like the reference's: its axes in this order.

    ``distance`` is that of the fingerprints, relative to the reference's.
    """

    axes: tuple[int, ...]
    distance: float

    def to_reference(self, value: Array, shape: tuple[int, ...]) -> Array:
        """The candidate's value in the reference's order and ``shape``."""
        return value.transpose(self.axes).reshape(shape)

    def to_candidate(self, value: Array, shape: tuple[int, ...]) -> Array:
        """The reference's value in the candidate's order and ``shape``."""
        transposed = value.reshape([shape[axis] for axis in self.axes])
        return np.asarray(transposed.transpose(np.argsort(self.axes)), order="C")


def fingerprint(value: Array) -> Fingerprint:
    """Take the fingerprint of a float array."""
    wide = value.astype(np.float64)
    square = wide * wide
    marginals = []
    for axis in range(value.ndim):
        others = tuple(other for other in range(value.ndim) if other != axis)
        with np.errstate(invalid="ignore", over="ignore"):
            mean, power = wide.mean(axis=others), square.mean(axis=others)
        marginals.append(np.stack([mean, np.sqrt(power)], axis=-1))
    return Fingerprint(value.shape, tuple(marginals))


def align(candidate: Fingerprint, reference: Fingerprint) -> Alignment | None:
    """The order of axes in which the candidate is nearest; None where no order fits the shape.

    Axes of size one may be missing on either side.
    """
    wanted = [axis for axis, size in enumerate(reference.shape) if size != 1]
    own = [axis for axis, size in enumerate(candidate.shape) if size != 1]
    ones = [axis for axis, size in enumerate(candidate.shape) if size == 1]
    if len(own) != len(wanted) or len(own) > _MAX_AXES:
        return None
    best: Alignment | None = None
    norm = sum(float((reference.marginals[axis] ** 2).mean()) for axis in wanted) or 1e-300
    for order in permutations(own):
        if any(
            candidate.shape[a] != reference.shape[b] for a, b in zip(order, wanted, strict=True)
        ):
            continue
        apart = sum(
            float(((candidate.marginals[a] - reference.marginals[b]) ** 2).mean())
            for a, b in zip(order, wanted, strict=True)
        )
        distance = float(np.sqrt(apart / norm)) if np.isfinite(apart) else float("inf")
        if best is None or distance < best.distance:
            best = Alignment((*order, *ones), distance)
    return best
