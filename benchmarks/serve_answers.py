"""The numbers in a server's answer, whatever its format: a wrong answer is not worth timing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from serve_payloads import Payload

from runtimes import open_runtime


def expected(model: Path, payload: Payload) -> np.ndarray[Any, Any]:
    """What ONNX Runtime answers in this process."""
    with open_runtime(model) as runtime:
        (name,) = [one.name for one in runtime.inputs]
        return next(iter(runtime.run({name: payload.array}).values()))


def check(url: str, payload: Payload, right: np.ndarray[Any, Any]) -> None:
    """Send ``payload`` once; raises ``RuntimeError`` unless the answer holds ``right``."""
    request = urllib.request.Request(url, payload.body, payload.headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            body, length = answer.read(), answer.headers.get("Inference-Header-Content-Length")
    except urllib.error.HTTPError as error:
        text = error.read()[:300].decode(errors="replace")
        raise RuntimeError(f"{url} answered {error.code}: {text}") from error
    found = numbers(body, int(length) if length else None)
    if found.size != right.size or not np.allclose(found, right.ravel(), rtol=1e-4, atol=1e-4):
        raise RuntimeError(f"{url} gave {found[:5]} in place of {right.ravel()[:5]}")


def numbers(body: bytes, header: int | None) -> np.ndarray[Any, Any]:
    """Flat: of the first output of the v2 protocol, or of a plain list."""
    found = json.loads(body[:header])
    if isinstance(found, list):
        return np.array(found, np.float32).ravel()
    # An echo of the request has inputs in place of outputs.
    one = (found.get("outputs") or found["inputs"])[0]
    if header is None:
        return np.array(one["data"], np.float32).ravel()
    return np.frombuffer(body, np.float32, one["parameters"]["binary_data_size"] // 4, header)
