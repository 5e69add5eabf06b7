"""Sums of floats that do not depend on the order, or on how the terms were grouped.

Every term is cut into pieces of a fixed-point number that is wide enough for all floats, and pieces
are added as integers, which is exact; only ``value`` rounds, once. So sums over shards are those
over the whole, to the bit. Neal, Fast exact summation using small and large superaccumulators,
arXiv:1505.05571, 2015.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.base import Array

_PIECE_BITS = 32
_MASK = (1 << _PIECE_BITS) - 1
# The last bit of a piece 0, as a power of two: no bit of a float is below it.
_LOWEST = -1152
_MANTISSA_BITS = 53


class ExactSums:
    """``count`` sums side by side; the order and grouping of ``add`` and ``absorb`` do not matter.

    Exact for up to 2^30 terms in each. Infinity and NaN sum up as floats do.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pieces: dict[int, Array] = {}  # int64, [count], by place
        self._special: Array | None = None  # the sum of what is not finite

    def add(self, terms: Array) -> None:
        """Add one term to each sum: float64, [count]."""
        finite = np.isfinite(terms)
        if not finite.all():
            self._add_special(np.where(finite, 0.0, terms))
            terms = np.where(finite, terms, 0.0)
        fraction, exponent = np.frexp(terms)
        mantissa = np.ldexp(fraction, _MANTISSA_BITS).astype(np.int64)
        sign, mantissa = np.sign(mantissa), np.abs(mantissa)
        place, shift = np.divmod(exponent - _MANTISSA_BITS - _LOWEST, _PIECE_BITS)
        low, high = (mantissa & _MASK) << shift, (mantissa >> _PIECE_BITS) << shift
        pieces = (
            low & _MASK,
            (low >> _PIECE_BITS) + (high & _MASK),
            high >> _PIECE_BITS,
        )
        for at in np.unique(place[mantissa != 0]):
            here = place == at
            for further, piece in enumerate(pieces):
                self._add_piece(int(at) + further, np.where(here, sign * piece, 0))

    def absorb(self, other: ExactSums) -> None:
        """Add the sums of ``other``, of as many."""
        if other.count != self.count:
            raise ValueError(f"{other.count} sums are no {self.count}")
        for at, piece in other._pieces.items():
            self._add_piece(at, piece)
        if other._special is not None:
            self._add_special(other._special)

    def values(self) -> Array:
        """The sums, each rounded once, float64 [count]."""
        found = np.array([self._value(column) for column in range(self.count)], np.float64)
        return found if self._special is None else found + self._special

    def copy(self) -> ExactSums:
        """The same sums, which go on by themselves."""
        found = ExactSums(self.count)
        found.absorb(self)
        return found

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes: a tree of plain values and arrays."""
        places = sorted(self._pieces)
        pieces = np.zeros((len(places), self.count), np.int64)
        for row, at in enumerate(places):
            pieces[row] = self._pieces[at]
        special = np.zeros(0) if self._special is None else self._special
        return {"places": np.array(places, np.int64), "pieces": pieces, "special": special}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> ExactSums:
        """What ``state`` gave; raises ``ValueError`` for what does not belong together."""
        places, pieces, special = state["places"], state["pieces"], state["special"]
        if pieces.ndim != 2 or pieces.dtype != np.int64 or len(places) != len(pieces):
            raise ValueError("these are no sums")
        found = cls(pieces.shape[1])
        found._pieces = {int(at): piece.copy() for at, piece in zip(places, pieces, strict=True)}
        found._special = special if special.size else None
        return found

    def _add_piece(self, at: int, piece: Array) -> None:
        known = self._pieces.get(at)
        self._pieces[at] = piece.astype(np.int64) if known is None else known + piece

    def _add_special(self, terms: Array) -> None:
        with np.errstate(invalid="ignore"):
            self._special = terms if self._special is None else self._special + terms

    def _value(self, column: int) -> float:
        whole = sum(int(piece[column]) << (_PIECE_BITS * at) for at, piece in self._pieces.items())
        try:
            return whole / (1 << -_LOWEST)  # Python rounds a ratio of integers once
        except OverflowError:
            return math.inf if whole > 0 else -math.inf
