"""Requests that go past ASGI: the same answers, in the same order, from the same bytes."""

from __future__ import annotations

import itertools
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("uvicorn")

from served import GATHER, Client, binary_body, serving, write_model

from runtimes.serving.app import App
from runtimes.serving.options import ModelOptions, ServeLimits

pytestmark = pytest.mark.fast
PATH = "/v2/models/net/infer"
X = np.arange(8, dtype=np.float32).reshape(2, 4)


class Asgi:
    """Counts the requests that ASGI sees, and can keep all requests there."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen, self.alone = 0, False
        called, target = App.__call__, App.direct_target

        async def counted(app: App, scope: Any, receive: Any, send: Any) -> None:
            self.seen += 1
            await called(app, scope, receive, send)

        def find(app: App, url: bytes) -> Any:
            return None if self.alone else target(app, url)

        patch.setattr(App, "__call__", counted)
        patch.setattr(App, "direct_target", find)


@pytest.fixture(scope="module")
def asgi() -> Iterator[Asgi]:
    with pytest.MonkeyPatch.context() as patch:
        yield Asgi(patch)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, asgi: Asgi) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("models")
    models = [write_model(folder / "net.onnx"), write_model(folder / "gather.onnx", GATHER)]
    with serving(*models, limits=ServeLimits(body_bytes=100_000)) as found:
        yield found


def request(body: bytes, path: str = PATH, version: str = "1.1", **headers: str) -> bytes:
    """The bytes of a request; ``_`` in the name of a header is written ``-``."""
    told = {"Host": "a", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


def in_json(x: np.ndarray, **more: Any) -> bytes:
    one = {"name": "x", "shape": x.shape, "datatype": "FP32", "data": x.ravel().tolist()}
    return json.dumps({"inputs": [one], **more}).encode()


def in_binary(x: np.ndarray) -> bytes:
    head, body = binary_body(x)
    return request(head + body, Inference_Header_Content_Length=str(len(head)))


def exchanged(client: Client, *parts: bytes, answers: int = 1) -> bytes:
    """What a connection answers to these bytes, sent one after the other, without the dates."""
    with client.raw() as raw, raw.makefile("rb") as file:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            raw.sendall(part)
        found = b"".join(one_answer(file) for _ in range(answers))
    return re.sub(rb"date: [^\r]*\r\n", b"", found)


def one_answer(file: BinaryIO) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = file.readline()
        assert line, f"the connection ended after {head!r}"
        head += line
    (length,) = re.findall(rb"\r\ncontent-length: (\d+)", head)
    return head + file.read(int(length))


def answered(found: bytes) -> tuple[bytes, set[bytes], bytes]:
    """Status line, headers in any order, and body of one answer."""
    head, _, body = found.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return status, set(headers), body


GATHERED = json.dumps(
    {"inputs": [{"name": "i", "shape": [1], "datatype": "INT64", "data": [7]}]}
).encode()
REQUESTS = {
    "JSON": request(in_json(X)),
    "an id": request(in_json(X, id="seven"), X_Request_Id="mine"),
    "an id that is none": request(in_json(X), X_Request_Id="m" * 200),
    "binary": in_binary(X),
    "a version": request(in_json(X), "/v2/models/net/versions/1/infer"),
    "no JSON": request(b"{"),
    "no body": request(b""),
    "too wide": request(in_json(np.ones((1, 5)))),
    "a length that is none": request(in_json(X), Inference_Header_Content_Length="-1"),
    "no time": request(in_json(X), X_Request_Timeout_Ms="soon"),
    "what the model refuses": request(GATHERED, "/v2/models/gather/infer"),
    "another site": request(in_json(X), Origin="http://evil.example"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_answers_are_those_of_asgi(client: Client, asgi: Asgi, name: str) -> None:
    before = asgi.seen
    direct = exchanged(client, REQUESTS[name])
    assert asgi.seen == before
    asgi.alone = True
    try:
        usual = exchanged(client, REQUESTS[name])
    finally:
        asgi.alone = False
    assert asgi.seen == before + 1
    assert answered(direct) == answered(usual)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(in_json(X), Connection="close"), b"200"),
        (request(in_json(X), version="1.0"), b"200"),
        (request(in_json(X), PATH + "?a=b"), b"200"),
        (request(in_json(X), "/v2/models/n%65t/infer"), b"200"),
        (request(in_json(X), Content_Encoding="identity"), b"200"),
        (request(in_json(X), Upgrade="websocket", Connection="Upgrade, keep-alive"), b"400"),
        (request(b" " * 100_001), b"413"),
        (request(in_json(X)).replace(b"POST", b"PUT"), b"405"),
        (request(in_json(X), "/v2/models/none/infer"), b"404"),
    ],
)
def test_what_is_unusual_goes_through_asgi(
    client: Client, asgi: Asgi, asked: bytes, status: bytes
) -> None:
    before = asgi.seen
    assert exchanged(client, asked).startswith(b"HTTP/1.1 " + status)
    assert asgi.seen == before + 1


def test_a_client_that_waits_to_be_told_to_go_on(client: Client) -> None:
    whole = request(in_json(X), Expect="100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    with client.raw() as raw:
        raw.sendall(head + b"\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 Continue\r\n")
        raw.sendall(body)
        assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 700), max_size=5), binary=st.booleans())
def test_bytes_may_come_in_any_parts(client: Client, cuts: list[int], binary: bool) -> None:
    """The first of two requests may end, and the second begin, in any part."""
    one = in_binary(X) if binary else request(in_json(X))
    two = one + request(in_json(X, id="second"))
    places = [0, *sorted({cut for cut in cuts if cut < len(two)}), len(two)]
    parts = [two[start:stop] for start, stop in itertools.pairwise(places)]
    assert exchanged(client, *parts, answers=2) == exchanged(client, two, answers=2)


@settings(max_examples=25, deadline=None)
@given(kinds=st.lists(st.sampled_from(["direct", "asgi", "wrong"]), max_size=6))
def test_answers_come_in_the_order_of_the_requests(client: Client, kinds: list[str]) -> None:
    def asked(kind: str, number: int) -> bytes:
        body = in_json(X, id=str(number)) if kind != "wrong" else b"{"
        return request(body, PATH + ("?" if kind == "asgi" else ""), X_Request_Id=f"r{number}")

    every = [asked(kind, number) for number, kind in enumerate(kinds)]
    statuses = [b"400" if kind == "wrong" else b"200" for kind in kinds]
    for parts in (every, [b"".join(every)]):
        found = exchanged(client, *parts, answers=len(kinds))
        assert re.findall(rb"x-request-id: r(\d)", found) == [b"%d" % n for n in range(len(kinds))]
        assert re.findall(rb"HTTP/1.1 (\d+)", found) == statuses


def test_one_connection_has_one_turn(client: Client, asgi: Asgi) -> None:
    """However many requests a client sends at once, those of others run between them."""
    before = asgi.seen
    exchanged(client, request(in_json(X)) * 5, answers=5)
    assert asgi.seen == before + 4


def test_requests_that_wait_for_others_are_answered_in_order(tmp_path: Path, asgi: Asgi) -> None:
    """A model of large batches runs in a thread: what comes behind a request waits for it."""
    model = write_model(tmp_path / "net.onnx")
    with serving(model, model=ModelOptions(max_batch=1)) as client:
        large = np.ones((4000, 4), np.float32)
        asked = [in_binary(large), request(in_json(X, id="b")), request(in_json(X), PATH + "?")]
        found = exchanged(client, b"".join(asked * 3), answers=9)
    assert found.count(b"HTTP/1.1 200 ") == 9
    lengths = [int(one) for one in re.findall(rb"\r\ncontent-length: (\d+)", found)]
    assert lengths[::3] == [lengths[0]] * 3
    assert lengths[0] > large.nbytes > lengths[1]


def test_nonsense_behind_a_request_is_answered_as_such(client: Client) -> None:
    found = exchanged(client, request(in_json(X)) + b"\x00nonsense\r\n\r\n", answers=2)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.count(b"HTTP/1.1 400 ") == 1


def test_requests_are_counted(client: Client, asgi: Asgi) -> None:
    def counted() -> float:
        text = client.ask("GET", "/metrics").body.decode()
        return float(text.split('kilnx_http_answers_total{status="200"} ')[1].split()[0])

    before = counted()
    client.infer(X)
    assert counted() == before + 2  # one answer is that of the metrics themselves


def test_logged_requests_go_through_asgi(tmp_path: Path, asgi: Asgi) -> None:
    before = asgi.seen
    with serving(write_model(tmp_path / "net.onnx"), log_requests=True) as client:
        assert client.infer(X).status == 200
    assert asgi.seen == before + 1
