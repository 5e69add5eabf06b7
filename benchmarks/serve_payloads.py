"""Requests for the servers that are compared: the same numbers in each one's format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Payload:
    """One HTTP request, and the tensor that it carries; ``others`` differ in their numbers."""

    name: str
    array: np.ndarray[Any, Any]
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    others: tuple[bytes, ...] = ()


Format = Callable[[str, str, np.ndarray[Any, Any]], Payload]


def several(make: Format, name: str, tensor: str, samples: np.ndarray[Any, Any]) -> Payload:
    """Requests of one sample each; a server may remember what never changes."""
    first, *others = [make(name, tensor, one[np.newaxis]) for one in samples]
    return replace(first, others=tuple(one.body for one in others))


def v2_json(name: str, tensor: str, array: np.ndarray[Any, Any]) -> Payload:
    """Open Inference Protocol v2; the numbers flat, in the shortest decimals of a float32."""
    header = {**_tensor(tensor, array), "data": _decimals(array)}
    return Payload(name, array, _compact({"inputs": [header]}), JSON)


def v2_binary(name: str, tensor: str, array: np.ndarray[Any, Any]) -> Payload:
    """The same with the binary tensor extension, in the request and in the answer."""
    raw = array.tobytes()
    one = {**_tensor(tensor, array), "parameters": {"binary_data_size": len(raw)}}
    header = _compact({"inputs": [one], "parameters": {"binary_data_output": True}})
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return Payload(name, array, header + raw, headers)


def nested_json(name: str, tensor: str, array: np.ndarray[Any, Any]) -> Payload:
    """Arguments by name, as nested lists: what BentoML's endpoints take."""
    numbers = np.array(_decimals(array)).reshape(array.shape).tolist()
    return Payload(name, array, _compact({tensor: numbers}), JSON)


def _tensor(tensor: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"name": tensor, "shape": list(array.shape), "datatype": "FP32"}


def _decimals(array: np.ndarray[Any, Any]) -> list[float]:
    """float32 in its shortest decimals, as clients print it, not in the 17 digits of a double."""
    return [float(str(value)) for value in array.ravel().astype(np.float32)]


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
