"""What an output means, told from the reference's own values: classes, an embedding, quantities.

An argmax says whether two models agree only where the values along an axis compete for one
answer. So that axis is looked for: probabilities sum to one along it, wherever it is; rows of unit
length are embeddings; and where some columns are so small that they never win (scores next to
boxes in pixels, a rate next to a price), the columns are quantities of their own, each of which
has a signal-to-noise ratio of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from typing import Any, Literal

import numpy as np

from runtimes.base import Array
from runtimes.exact_sum import ExactSums

OutputKind = Literal[
    "probabilities", "classes", "scores", "embedding", "detections", "quantities", "values"
]
"""``probabilities`` sum to one; ``classes`` compete by an argmax without doing so; ``scores`` are
independent, 0 to 1; an ``embedding`` has unit length; ``detections`` are boxes with scores, see
``runtimes.parity.detections``; ``quantities`` are columns of different
sizes; ``values`` are everything else."""

# A column whose root mean square is below this share of the largest one, and that never wins an
# argmax, is a quantity of its own: logits of classes are of one size within a factor of a few.
_SMALL_COLUMN = 0.05
_NEVER_WINS = 1e-3
# Independent scores below this are noise, in which an argmax says nothing: detectors give
# thousands of such rows a picture.
_LEAST_SCORE = 0.1
# Up to so many channels, maps without probabilities are pictures (gray, RGB, RGBA), not classes.
_PICTURE_CHANNELS = 4


class AxisAccumulator:
    """What is known of the values along one axis of an output, over all samples."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.sums_to_one = self.is_unit = self.is_bounded = True
        self.rows = self.agreeing = self.scored = self.agreeing_scored = 0
        self._varies = False  # an axis whose length does has no columns
        self._wins: Array = np.zeros(0, np.int64)
        self._low: Array = np.zeros(0)
        self._high: Array = np.zeros(0)
        self._power = _Power(0)
        self._unmasked: _Power | None = None  # None as long as that is everything

    def update(
        self, expected: Array, found: Array, error: Array, suspects: Array | None = None
    ) -> None:
        """Add float64 arrays of one shape: the reference's values, the candidate's, the error.

        ``suspects``: elements that a mask may have written, see ``without_masked``.
        """
        width = expected.shape[self.axis]
        if not self._wins.size:
            self._wins = np.zeros(width, np.int64)
            self._power = _Power(width)
            self._low, self._high = np.full(width, np.inf), np.full(width, -np.inf)
        self._varies = self._varies or self._wins.size != width
        if self._varies:
            return
        wins = expected.argmax(axis=self.axis)
        equal = wins == found.argmax(axis=self.axis)
        self.rows += equal.size
        self.agreeing += int(equal.sum())
        scored = expected.max(axis=self.axis) >= _LEAST_SCORE
        self.scored += int(scored.sum())
        self.agreeing_scored += int((equal & scored).sum())
        self._wins += np.bincount(wins.reshape(-1), minlength=width)
        others = tuple(axis for axis in range(expected.ndim) if axis != self.axis)
        finite = np.where(np.isinf(expected), 0.0, expected)
        self._low = np.minimum(self._low, finite.min(axis=others))
        self._high = np.maximum(self._high, finite.max(axis=others))
        parts = (finite, error)
        if suspects is not None and self._unmasked is None:
            self._unmasked = self._power.copy()
        self._power.add(*parts, others)
        if self._unmasked is not None:
            if suspects is not None:
                parts = (np.where(suspects, 0.0, finite), np.where(suspects, 0.0, error))
            self._unmasked.add(*parts, others)
        self._look_at(expected)

    def absorb(self, later: AxisAccumulator) -> None:
        """Add those of batches that come later."""
        if not later._wins.size:
            return
        if not self._wins.size:
            self.__dict__.update(AxisAccumulator.restored(later.state()).__dict__)
            return
        self._varies = self._varies or later._varies or self.width != later.width
        if self._varies:
            return
        if self._unmasked is not None or later._unmasked is not None:
            self._unmasked = self._unmasked or self._power.copy()
            self._unmasked.absorb(later._unmasked or later._power)
        self._power.absorb(later._power)
        for count in ("rows", "agreeing", "scored", "agreeing_scored"):
            setattr(self, count, getattr(self, count) + getattr(later, count))
        for true in ("sums_to_one", "is_unit", "is_bounded"):
            setattr(self, true, getattr(self, true) and getattr(later, true))
        self._wins = self._wins + later._wins
        self._low = np.minimum(self._low, later._low)
        self._high = np.maximum(self._high, later._high)

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes."""
        unmasked = None if self._unmasked is None else self._unmasked.state()
        return {**vars(self), "_power": self._power.state(), "_unmasked": unmasked}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> AxisAccumulator:
        """What ``state`` gave; raises ``ValueError`` for anything else."""
        found = cls(state["axis"])
        if state.keys() != vars(found).keys():
            raise ValueError("this is no axis")
        unmasked = state["_unmasked"]
        powers = {
            "_power": _Power.restored(state["_power"]),
            "_unmasked": None if unmasked is None else _Power.restored(unmasked),
        }
        found.__dict__.update({**state, **powers})
        return found

    def without_masked(self) -> AxisAccumulator:
        """The same, were there no elements that a mask may have written."""
        apart = copy(self)
        if self._unmasked is not None:
            apart._power = self._unmasked
        return apart

    def _look_at(self, expected: Array) -> None:
        positive = bool((expected >= -1e-6).all())
        self.is_bounded = self.is_bounded and positive and bool((expected <= 1 + 1e-6).all())
        if self.sums_to_one:
            sums = expected.sum(axis=self.axis)
            self.sums_to_one = positive and bool((np.abs(sums - 1) < 1e-3).all())
        if self.is_unit:
            with np.errstate(over="ignore", invalid="ignore"):
                lengths = np.sqrt((expected**2).sum(axis=self.axis))
            self.is_unit = bool((np.abs(lengths - 1) < 1e-3).all())

    @property
    def width(self) -> int:
        """Values along the axis; 1 where that varies."""
        return 1 if self._varies else self._wins.size

    @property
    def are_quantities(self) -> bool:
        """Whether some columns are much smaller than others, and never win or are scores."""
        power = self._power.signal / max(1, self.rows)
        largest = float(power.max(initial=0.0))
        small = (power < largest * _SMALL_COLUMN**2) & (power > 0)
        if not small.any() or self.width < 2:
            return False
        if int(self._wins[small].sum()) <= _NEVER_WINS * self.rows:
            return True
        scores = (self._low >= 0) & (self._high <= 1)  # and so the large columns are no scores
        return self.width > 2 and bool(scores[small].all() and not scores[~small].any())

    def worst_decibels(self) -> float:
        """The lowest signal-to-noise ratio of a column that holds anything, in dB."""
        signal, noise = self._power.signal, self._power.noise
        held = signal > 0
        if not held.any():
            return math.inf if not noise.any() else -math.inf
        with np.errstate(divide="ignore"):
            return float((10 * np.log10(signal[held] / noise[held])).min())


class _Power:
    """Sums of squares by column, of the reference's values and of the error."""

    def __init__(self, width: int, sums: ExactSums | None = None) -> None:
        self._width = width
        self._sums = ExactSums(2 * width) if sums is None else sums

    @property
    def signal(self) -> Array:
        """Of the values."""
        return self._sums.values()[: self._width]

    @property
    def noise(self) -> Array:
        """Of the error."""
        return self._sums.values()[self._width :]

    def add(self, values: Array, error: Array, axes: tuple[int, ...]) -> None:
        """Add the squares of arrays, summed over ``axes``, all but that of the columns."""
        self._sums.add(np.concatenate([(values**2).sum(axes), (error**2).sum(axes)]))

    def absorb(self, other: _Power) -> None:
        """Add those of other arrays."""
        self._sums.absorb(other._sums)

    def copy(self) -> _Power:
        """The same, which goes on by itself."""
        return _Power(self._width, self._sums.copy())

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes."""
        return self._sums.state()

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> _Power:
        """What ``state`` gave."""
        sums = ExactSums.restored(state)
        return cls(sums.count // 2, sums)


def class_axes(rank: int) -> tuple[int, ...]:
    """The axes of an output along which values may compete: channels first and last."""
    if rank < 2:
        return ()
    return (rank - 1,) if rank == 2 else (rank - 1, 1)


def kind_of(axes: list[AxisAccumulator], rank: int) -> tuple[OutputKind, AxisAccumulator | None]:
    """What the output is, and the axis that says so, if any does."""
    wide = [axis for axis in axes if axis.rows and axis.width > 1]
    if not wide:
        return "values", None
    for axis in wide:
        if axis.sums_to_one:
            return "probabilities", axis
    for axis in wide:
        if axis.are_quantities:
            return "quantities", axis
    chosen = min(wide, key=lambda axis: axis.width) if rank >= 4 else wide[0]
    if rank == 2:
        return ("embedding" if chosen.is_unit else "classes"), chosen
    if rank >= 4 and chosen.width <= _PICTURE_CHANNELS:
        return "values", None
    return ("scores" if chosen.is_bounded else "classes"), chosen
