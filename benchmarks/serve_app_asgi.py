"""The floor: a plain ASGI callable with nothing around ONNX Runtime that a server needs.

No check of the request, no limit, no metric: what HTTP in Python costs at least. ``/echo`` answers
with the request's own body; ``/v2/models/model/infer`` runs ``KILNX_BENCHMARK_MODEL``.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
import orjson

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["KILNX_BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"]
)
KEPT = (b"content-type", b"inference-header-content-length")
NAMES = [one.name for one in session.get_outputs()]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request; uvicorn is started with ``--lifespan off``."""
    body = await received(receive)
    if scope["path"] == "/echo":
        await answer(send, body, scope["headers"])
    elif scope["method"] == "GET":
        await answer(send, b"{}", [])
    else:
        await answer(send, inferred(body), [(b"content-type", b"application/json")])


async def received(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def answer(send: Any, body: bytes, headers: Any) -> None:
    kept = [pair for pair in headers if pair[0] in KEPT]
    kept.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": kept})
    await send({"type": "http.response.body", "body": body})


def inferred(body: bytes) -> bytes:
    feed = {
        one["name"]: np.array(one["data"], np.float32).reshape(one["shape"])
        for one in orjson.loads(body)["inputs"]
    }
    outputs = [
        {"name": name, "shape": list(value.shape), "datatype": "FP32", "data": value.ravel()}
        for name, value in zip(NAMES, session.run(None, feed), strict=True)
    ]
    return orjson.dumps(
        {"model_name": "model", "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY
    )
