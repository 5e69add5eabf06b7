"""A server for tests, in a thread, on a real socket; and a client that hides nothing."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.parser import parse_model

from runtimes.serving.options import ServeOptions
from runtimes.serving.run import running

HEADER = '<ir_version: 10, opset_import: ["" : 18]> '
SOFTMAX = HEADER + "net (float[n, 4] x) => (float[n, 4] y) { y = Softmax(x) }"
TWICE = HEADER + "net (float[n, 4] x) => (float[n, 4] y) { y = Add(x, x) }"
SQUARE = HEADER + "net (float[n, 4] x) => (float[n, 4] y) { y = Mul(x, x) }"
GATHER = HEADER + (
    "net (int64[n] i) => (float[n] y) <float[3] table = {1.0, 2.0, 3.0}> { y = Gather(table, i) }"
)
TEXT = HEADER + ("net (string[n] s) => (string[n] y) { y = Identity(s) }")
# Each row is divided by the largest value of the whole batch: what batching must not touch.
MIXING = HEADER + (
    "net (float[n, 4] x) => (float[n, 4] y)"
    "{ a = Abs(x) m = ReduceMax <keepdims = 0> (a) y = Div(x, m) }"
)

Headers = Mapping[str, str]


def write_model(path: Path, text: str = TWICE) -> Path:
    """Write an ONNX file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ir.save(ir.from_proto(parse_model(text)), path)
    return path


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Client:
    """One connection that stays open."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.host, _, port = url.partition("://")[2].rpartition(":")
        self.port = int(port)
        self._token = token
        self._connection = http.client.HTTPConnection(self.host, self.port, timeout=20)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Headers | None = None
    ) -> Answer:
        """Send a request and read the answer; what is no bytes is sent as JSON."""
        told = dict(headers or {})
        if self._token is not None:
            told.setdefault("Authorization", f"Bearer {self._token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self._connection.request(method, path, body, told)
        with self._connection.getresponse() as answer:
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())

    def infer(self, data: Any, model: str = "net", **more: Any) -> Answer:
        """Send floats to a model that calls them ``x``, as JSON."""
        x = np.asarray(data, np.float32)
        one = {"name": "x", "shape": x.shape, "datatype": "FP32", "data": x.ravel().tolist()}
        return self.ask("POST", f"/v2/models/{model}/infer", {"inputs": [one], **more})

    def infer_binary(self, x: np.ndarray, model: str = "net") -> Answer:
        """Send floats as bytes, and ask for bytes."""
        head, body = binary_body(x)
        length = {"Inference-Header-Content-Length": str(len(head))}
        return self.ask("POST", f"/v2/models/{model}/infer", head + body, length)

    def outputs(self, answer: Answer) -> np.ndarray:
        """The first output of an answer in JSON."""
        assert answer.status == 200, answer.body
        found = answer.json()["outputs"][0]
        return np.array(found["data"], np.float32).reshape(found["shape"])

    def raw(self) -> socket.socket:
        """A connection of its own, for what no client would send."""
        return socket.create_connection((self.host, self.port), timeout=20)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def binary_body(x: np.ndarray) -> tuple[bytes, bytes]:
    """The JSON and the bytes of a request with binary data."""
    one = {
        "name": "x",
        "shape": x.shape,
        "datatype": "FP32",
        "parameters": {"binary_data_size": x.nbytes},
    }
    head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    return head, x.tobytes()


def binary_output(answer: Answer) -> np.ndarray:
    """The one output of an answer whose bytes follow its JSON."""
    assert answer.status == 200, answer.body
    length = int(answer.headers["inference-header-content-length"])
    shape = json.loads(answer.body[:length])["outputs"][0]["shape"]
    return np.frombuffer(answer.body[length:], np.float32).reshape(shape)


@contextmanager
def serving(*models: str | Path, token: str | None = None, **options: Any) -> Iterator[Client]:
    """Serve models on a free port; yields a client."""
    told = ServeOptions(models=tuple(map(str, models)), port=0, token=token, **options)
    with running(told) as where:
        client = Client(where.url, token)
        try:
            yield client
        finally:
            client.close()
