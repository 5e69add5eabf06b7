"""Arrays as JSON, bit by bit: between processes whose environments share numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_json(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: _one_to_json(array) for name, array in arrays.items()}


def from_json(document: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: _one_from_json(each) for name, each in document.items()}


def _one_to_json(array: np.ndarray) -> dict[str, Any]:
    if array.dtype == object:
        strings = [each.encode() if isinstance(each, str) else each for each in array.ravel()]
        return {"shape": array.shape, "strings": [each.hex() for each in strings]}
    return {"shape": array.shape, "dtype": array.dtype.str, "bytes": array.tobytes().hex()}


def _one_from_json(document: dict[str, Any]) -> np.ndarray:
    if "strings" in document:
        array = np.empty(len(document["strings"]), object)
        array[:] = [bytes.fromhex(each) for each in document["strings"]]
        return array.reshape(document["shape"])
    data = bytes.fromhex(document["bytes"])
    return np.frombuffer(data, document["dtype"]).reshape(document["shape"])
