"""Messages of arrays that come again and again: what they are is pickled once for each form.

A run is asked for with the same names, types and shapes as the one before it. So of such a message
only the bytes of its arrays are new; what else it says is looked up on both sides.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from runtimes.base import Array
from runtimes.racing.pickled import ALIGN, APART

# Requests of very many shapes are looked up no more than they are pickled.
_MOST_FORMS = 256
_PLAIN_KINDS = frozenset("fiubc")


class Arrays(NamedTuple):
    """What was said, and the arrays that go with it."""

    told: Any
    arrays: list[Array]


@dataclass(frozen=True)
class _Form:
    """How a message is read: for each array its type, its shape, and where it is.

    ``places``: offset among the small ones; below zero: it is a large one.
    """

    told: Any
    kinds: tuple[tuple[np.dtype[Any], tuple[int, ...], int], ...]


def are_plain(arrays: Sequence[Any]) -> bool:
    """Whether all are arrays of numbers, of which no more is known than type, shape and bytes."""
    return all(
        type(one) is np.ndarray and one.dtype.kind in _PLAIN_KINDS and one.dtype.isnative
        for one in arrays
    )


class Writer:
    """Takes messages apart: into a body, large arrays, and the bytes of small ones."""

    def __init__(self) -> None:
        self._bodies: dict[Any, bytes] = {}

    def write(self, told: Any, arrays: Sequence[Array]) -> tuple[bytes, list[Array], bytes]:
        """``told`` can be hashed; ``arrays`` are plain, and their rows follow one another."""
        form = (told, tuple([(one.dtype.char, one.shape) for one in arrays]))
        body = self._bodies.get(form)
        if body is None:
            if len(self._bodies) >= _MOST_FORMS:
                self._bodies.clear()
            body = self._bodies[form] = pickle.dumps(form, 5)
        large = [one for one in arrays if one.nbytes >= APART]
        if len(large) == len(arrays):
            return body, large, b""
        small = [one for one in arrays if one.nbytes < APART]
        return body, large, b"".join([one.tobytes() + bytes(-one.nbytes % ALIGN) for one in small])


class Reader:
    """Puts them together again."""

    def __init__(self) -> None:
        self._forms: dict[bytes, _Form] = {}

    def read(self, body: bytearray, large: Sequence[Any], small: bytearray) -> Arrays:
        """The message; its arrays use the memory that is given."""
        key = bytes(body)
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            form = self._forms[key] = _form_of(key)
        following = iter(large)
        return Arrays(
            form.told,
            [
                np.ndarray(shape, dtype, next(following))
                if at < 0
                else np.ndarray(shape, dtype, small, at)
                if 0 not in shape
                else np.empty(shape, dtype)
                for dtype, shape, at in form.kinds
            ],
        )


def _form_of(body: bytes) -> _Form:
    told, kinds = pickle.loads(body)  # from a process that kilnx started
    found, end = [], 0
    for char, shape in kinds:
        dtype = np.dtype(char)
        size = math.prod(shape) * dtype.itemsize
        if size >= APART:
            found.append((dtype, shape, -1))
        else:
            found.append((dtype, shape, end))
            end += -(-size // ALIGN) * ALIGN
    return _Form(told, tuple(found))
