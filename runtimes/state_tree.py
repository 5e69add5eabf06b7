"""Trees of plain values and arrays, as the header and the arrays of an array file.

In the tree are None, booleans, integers, floats, text, arrays, lists, and dicts with texts as keys.
Floats keep their bits, NaN and infinity among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.base import Array

_MOST_DEPTH = 32


def packed_tree(tree: Any) -> tuple[Any, dict[str, Array]]:
    """JSON in which arrays stand by name, and those arrays; raises ``TypeError`` for others."""
    arrays: dict[str, Array] = {}
    return _packed(tree, arrays), arrays


def _packed(value: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"{len(arrays):08d}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, list | tuple):
        return [_packed(one, arrays) for one in value]
    if isinstance(value, Mapping):
        return {"dict": {_text(key): _packed(one, arrays) for key, one in value.items()}}
    raise TypeError(f"a {type(value).__name__} has no place in a file")


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is no text")
    return key


def unpacked_tree(value: Any, arrays: Mapping[str, Array]) -> Any:
    """The tree that ``packed_tree`` took; raises ``ValueError`` for what it never gives.

    Dicts have their keys in the order of the file, which sorts them.
    """
    return _unpacked(value, arrays, _MOST_DEPTH)


def _unpacked(value: Any, arrays: Mapping[str, Array], depth: int) -> Any:
    if depth == 0:
        raise ValueError("it is nested too deep")
    if isinstance(value, list):
        return [_unpacked(one, arrays, depth - 1) for one in value]
    if not isinstance(value, dict):
        if isinstance(value, float):
            raise ValueError("a float in it is not exact")
        return value
    if len(value) != 1:
        raise ValueError("something in it is of no kind")
    ((kind, inner),) = value.items()
    if kind == "array" and isinstance(inner, str) and inner in arrays:
        return arrays[inner]
    if kind == "float" and isinstance(inner, str):
        return float.fromhex(inner)
    if kind == "dict" and isinstance(inner, dict):
        return {key: _unpacked(one, arrays, depth - 1) for key, one in inner.items()}
    raise ValueError("something in it is of no kind")
