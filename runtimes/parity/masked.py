"""Elements that a mask wrote, and that say nothing of how near two models are.

Policies, pointers and decoders put -1e9, the lowest float or -inf where an answer is not allowed.
Next to such a constant every other error is small: its square would be the whole signal, and a
tolerance relative to the peak would allow anything. So the constants are told from the reference's
own values, by their size and by how few of them there are, and compared apart from the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.base import Array

MASK_TOLERANCE = 0.01
"""Relative error of a masked element, which stands for "not allowed" as well as the constant."""

# A mask is at least so large, so many times as large as all else, and of so few values.
_LEAST = 100.0
_GAP = 30.0
_MOST_VALUES = 8
# What occurs only once or twice is an outlier, unless nothing else counts besides it.
_CERTAIN_GAP = 1e4
# Digits that tell two constants apart: float32 leaves -1e9 + a logit at -1e9, give or take 64.
_DIGITS = 6


class MaskFinder:
    """Looks at the reference's values, batch by batch, for the few constants of a mask."""

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self._are_many = False

    def suspects(self, values: Array, magnitude: Array) -> Array | None:
        """Which of ``values`` (float64, with their ``magnitude``) a mask may have written.

        None where none has; infinities, which have no magnitude, are nobody's signal anyway.
        """
        if self._are_many:
            return None
        large = magnitude >= _LEAST
        if not large.any():
            return None
        found, counts = np.unique(values[large], return_counts=True)
        for value, count in zip(found[: 10 * _MOST_VALUES], counts, strict=False):
            constant = float(f"{value:.{_DIGITS}g}")
            self._counts[constant] = self._counts.get(constant, 0) + int(count)
        self._are_many = len(found) > 10 * _MOST_VALUES or len(self._counts) > _MOST_VALUES
        return large

    def absorb(self, other: MaskFinder) -> None:
        """Add what was seen elsewhere."""
        for constant, count in other._counts.items():
            self._counts[constant] = self._counts.get(constant, 0) + count
        self._are_many = self._are_many or other._are_many or len(self._counts) > _MOST_VALUES

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes."""
        found = sorted(self._counts.items())
        return {"constants": [list(one) for one in found], "are_many": self._are_many}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> MaskFinder:
        """What ``state`` gave."""
        found = cls()
        found._counts = dict(state["constants"])
        found._are_many = bool(state["are_many"])
        return found

    def constants(self, peak: float) -> tuple[float, ...]:
        """The constants of a mask, where ``peak`` is the largest magnitude of all else; or none."""
        if self._are_many or not self._counts:
            return ()
        least = min(abs(value) for value in self._counts)
        often = sum(self._counts.values()) > 2 * len(self._counts)
        gap = _GAP if often else _CERTAIN_GAP
        return tuple(sorted(self._counts)) if least >= gap * peak else ()


def mask_threshold(constants: tuple[float, ...]) -> float:
    """The magnitude from which on an element is masked; infinite where there are no constants."""
    if not constants:
        return np.inf
    return min(abs(value) for value in constants) * (1 - 10.0**-_DIGITS)


def masked_elements(values: Array) -> Array:
    """Which of an output's values, [...] of a float type, a mask wrote; infinities are."""
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    magnitude = np.where(finite, np.abs(wide), 0.0)
    finder = MaskFinder()
    suspects = finder.suspects(wide, magnitude)
    masked = np.isinf(wide)
    if suspects is None or (suspects | masked).all():
        return masked
    peak = float(magnitude[~suspects].max(initial=0.0))
    return masked | (magnitude >= mask_threshold(finder.constants(peak)))
