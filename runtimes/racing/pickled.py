"""Messages pickled without their arrays, which pickle would take most of its time for.

Pickle's persistent ids say what an array is and where its bytes are.
https://docs.python.org/3/library/pickle.html#persistence-of-external-objects
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtimes.base import Array

ALIGN = 64
"""Arrays begin at multiples of it."""

APART = 16 * 1024
"""Smaller arrays are faster behind the message than in memory that both sides have mapped."""


class Written(pickle.Pickler):
    """A message without its arrays, and these."""

    def __init__(self, message: Any) -> None:
        file = io.BytesIO()
        super().__init__(file, protocol=5)
        self._small: list[bytes] = []
        self._end = 0
        self.large: list[Array] = []
        self.dump(message)
        self.body, self.small = file.getvalue(), b"".join(self._small)

    def persistent_id(self, value: Any) -> Any:
        """Where an array is, of which the message only says what it is; None for all else."""
        if type(value) is not np.ndarray or value.dtype.hasobject or value.dtype.names:
            return None
        shape, dtype = value.shape, value.dtype
        told = dtype.str if dtype.kind in "fiubc" else dtype  # a text is faster
        value = np.ascontiguousarray(value)
        if value.nbytes >= APART:
            self.large.append(value)
            return told, shape, -len(self.large)
        at, padding = self._end, -value.nbytes % ALIGN
        self._small.append(value.tobytes() + bytes(padding))
        self._end += value.nbytes + padding
        return told, shape, at


class Reading(pickle.Unpickler):
    """The reverse of ``Written``."""

    def __init__(self, body: bytearray, small: bytearray, large: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(body))
        self._small, self._large = small, large

    def persistent_load(self, pid: Any) -> Array:
        """The array that is told by ``persistent_id``."""
        dtype, shape, at = pid
        if at < 0:
            return np.frombuffer(self._large[-at - 1], dtype).reshape(shape)
        if not self._small:
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, self._small, at)
