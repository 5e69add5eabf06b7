"""The server over real sockets: routes, answers, limits and what goes wrong."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn")

from served import (
    GATHER,
    SOFTMAX,
    TEXT,
    Client,
    binary_body,
    binary_output,
    serving,
    write_model,
)

from runtimes.serving.options import ModelOptions, ServeLimits

pytestmark = pytest.mark.fast
TOKEN = "a-token-that-is-long-enough"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("models")
    models = [
        write_model(folder / "net.onnx"),
        write_model(folder / "gather.onnx", GATHER),
        write_model(folder / "text.onnx", TEXT),
    ]
    limits = ServeLimits(body_bytes=200_000, head_bytes=8192, head_seconds=0.3, flight_bytes=10**6)
    with serving(*models, limits=limits) as found:
        yield found


def test_what_the_server_tells_of_itself(client: Client) -> None:
    assert client.ask("GET", "/v2").json()["name"] == "kilnx"
    assert client.ask("GET", "/v2/health/live").status == 200
    assert client.ask("GET", "/v2/health/ready").status == 200
    about = client.ask("GET", "/v2/models/net").json()
    assert about["versions"] == ["1"]
    assert about["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert client.ask("GET", "/v2/models/net/versions/1/ready").status == 200
    assert client.ask("GET", "/v2/models/net/versions/2/ready").status == 404


def test_json_and_binary_give_the_same(client: Client) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert client.outputs(client.infer(x)).tolist() == (2 * x).tolist()
    for factor in (1, 3):  # the second is read with what is known of the first
        found = binary_output(client.infer_binary(factor * x))
        assert found.tobytes() == (2 * factor * x).tobytes()


def test_the_same_json_before_data_of_another_size_is_read_anew(client: Client) -> None:
    x = np.ones((1, 4), np.float32)
    head, body = binary_body(x)
    length = {"Inference-Header-Content-Length": str(len(head))}
    path = "/v2/models/net/infer"
    assert client.ask("POST", path, head + body, length).status == 200
    answer = client.ask("POST", path, head + body + b"more", length)
    assert answer.status == 400
    assert client.ask("POST", path, head + body[:-4], length).status == 400


def test_ids_come_back(client: Client) -> None:
    answer = client.infer(np.ones((1, 4)), id="seven")
    assert answer.json()["id"] == "seven"
    told = client.ask("GET", "/v2", headers={"X-Request-Id": "mine-1"})
    assert told.headers["x-request-id"] == "mine-1"


def test_text_goes_in_and_out(client: Client) -> None:
    one = {"name": "s", "shape": [2], "datatype": "BYTES", "data": ["größer", "b"]}
    answer = client.ask("POST", "/v2/models/text/infer", {"inputs": [one]})
    assert answer.json()["outputs"][0]["data"] == ["größer", "b"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "z"}, "has no input 'z'"),
        ({"datatype": "FP64"}, "takes 'x' as FP32"),
        ({"shape": [1, 5], "data": [0] * 5}, "takes 'x' as FP32[n,4], not FP32[1,5]"),
        ({"shape": [4], "data": [0] * 4}, "FP32[4]"),
        ({"shape": [-1, 4]}, ""),
        ({"shape": [0, 4], "data": [1]}, ""),
        ({"data": [1, 2]}, ""),
    ],
)
def test_inputs_that_do_not_fit(client: Client, change: dict[str, Any], says: str) -> None:
    one = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], **change}
    answer = client.ask("POST", "/v2/models/net/infer", {"inputs": [one]})
    assert answer.status == 400
    assert says in answer.json()["error"]


def test_other_requests_that_are_wrong(client: Client) -> None:
    wrong = [
        ("POST", "/v2/models/net/infer", b"{", 400),
        ("POST", "/v2/models/net/infer", {"inputs": []}, 400),
        ("POST", "/v2/models/nothing/infer", {"inputs": []}, 404),
        ("GET", "/v2/models/nothing", None, 404),
        ("GET", "/nothing", None, 404),
        ("DELETE", "/v2", None, 405),
        ("GET", "/v2/models/net/infer", None, 405),
        ("POST", "/v2/models/net/feedback", {"id": "a", "label": 1}, 409),
        ("POST", "/v2/repository/models/net/load", None, 403),
        ("POST", "/v2/repository/index", b"[]", 400),
    ]
    for method, path, body, status in wrong:
        answer = client.ask(method, path, body)
        assert (answer.status, path) == (status, path)
        assert set(answer.json()) == {"error"}
    assert client.ask("DELETE", "/v2").headers["allow"] == "GET, HEAD"


def test_head_is_get_without_a_body(client: Client) -> None:
    answer = client.ask("HEAD", "/v2/health/live")
    assert (answer.status, answer.body) == (200, b"")


def test_what_the_model_itself_refuses(client: Client) -> None:
    one = {"name": "i", "shape": [1], "datatype": "INT64", "data": [7]}
    answer = client.ask("POST", "/v2/models/gather/infer", {"inputs": [one]})
    assert answer.status == 400
    assert "Gather" in answer.json()["error"]
    one["data"] = [2]
    assert client.ask("POST", "/v2/models/gather/infer", {"inputs": [one]}).status == 200


def test_compressed_bodies(client: Client) -> None:
    one = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    body = gzip.compress(json.dumps({"inputs": [one]}).encode())
    path, gzipped = "/v2/models/net/infer", {"Content-Encoding": "gzip"}
    assert client.ask("POST", path, body, gzipped).status == 200
    assert client.ask("POST", path, body[:-9], gzipped).status == 400
    assert client.ask("POST", path, gzip.compress(b" " * 10**7), gzipped).status == 413
    assert client.ask("POST", path, body, {"Content-Encoding": "br"}).status == 415


def test_large_bodies_are_refused_before_they_are_read(client: Client) -> None:
    with client.raw() as raw:
        raw.sendall(
            b"POST /v2/models/net/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n"
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_chunked_bodies_are_limited_too(client: Client) -> None:
    head = b"POST /v2/models/net/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with client.raw() as raw:
        raw.sendall(head)
        answer = b""
        try:
            for _ in range(20):
                raw.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        except OSError:
            pass  # it answered, and closed
        try:
            answer = raw.recv(1000)
        except ConnectionResetError:
            return
        assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_in_pieces(client: Client) -> None:
    head, body = binary_body(np.ones((2000, 4), np.float32))
    whole = head + body
    with client.raw() as raw:
        raw.sendall(
            b"POST /v2/models/net/infer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
            % (len(head), len(whole))
        )
        for start in range(0, len(whole), 7000):
            raw.sendall(whole[start : start + 7000])
        assert received(raw).startswith(b"HTTP/1.1 200 ")


def received(raw: socket.socket) -> bytes:
    found = b""
    while part := raw.recv(65536):
        found += part
    return found


def test_heads_without_end(client: Client) -> None:
    with client.raw() as raw:
        raw.sendall(b"GET /v2 HTTP/1.1\r\n")
        answer = b""
        try:
            for n in range(64):
                raw.sendall(b"X-%d: %s\r\n" % (n, b"a" * 1000))
            answer = raw.recv(1000)
        except OSError:
            return  # the connection is gone, which is what it should be
        assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""


def test_heads_that_never_become_whole_are_given_up(client: Client) -> None:
    with client.raw() as silent, client.raw() as slow:
        slow.sendall(b"GET /v2 HT")
        assert silent.recv(10) == b""
        assert slow.recv(10) == b""
    with client.raw() as second:
        second.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert second.recv(1000).startswith(b"HTTP/1.1 200 ")
        second.sendall(b"GET /v2 HT")
        assert second.recv(10) == b""


def test_nonsense_harms_nobody(client: Client) -> None:
    for nonsense in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"\x00" * 100,
        b"POST / HTTP/9\r\n\r\n",
    ):
        with client.raw() as raw:
            raw.sendall(nonsense)
            raw.shutdown(socket.SHUT_WR)
            received(raw)
    assert client.ask("GET", "/v2/health/live").status == 200


def test_several_requests_at_once_on_one_connection(client: Client) -> None:
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    with client.raw() as raw:
        raw.sendall(one * 3 + one.replace(b"Host", b"Connection: close\r\nHost"))
        assert received(raw).count(b"HTTP/1.1 200 ") == 4


def test_statistics_and_metrics(client: Client) -> None:
    def counted() -> int:
        found = client.ask("GET", "/v2/models/net/stats").json()["model_stats"][0]
        return int(found["inference_stats"]["success"]["count"])

    before = counted()
    client.infer(np.ones((3, 4)))
    client.infer(np.ones((1, 3)))
    assert counted() == before + 1
    text = client.ask("GET", "/metrics").body.decode()
    for name in (
        "kilnx_requests_success_total",
        "kilnx_requests_failed_total",
        "kilnx_request_seconds_bucket",
        "kilnx_queue_length",
        "process_resident_memory_bytes",
    ):
        assert name in text
    total = text.split('kilnx_requests_success_total{model="net",version="1"} ')[1].split()[0]
    assert float(total) == before + 1
    assert client.ask("GET", "/v2/models/stats").json()["model_stats"]


def test_index(client: Client) -> None:
    found = client.ask("POST", "/v2/repository/index", {"ready": True}).json()
    assert [(one["name"], one["state"]) for one in found] == [
        ("gather", "READY"),
        ("net", "READY"),
        ("text", "READY"),
    ]


def test_a_deadline_that_is_no_number(client: Client) -> None:
    headers = {"X-Request-Timeout-Ms": "soon"}
    assert client.ask("POST", "/v2/models/net/infer", b"{}", headers).status == 400


def test_other_sites_may_not_use_a_browser(client: Client) -> None:
    host = f"127.0.0.1:{client.port}"
    path, one = "/v2/models/net/infer", {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    body = {"inputs": [{**one, "data": [1, 2, 3, 4]}]}
    for origin, name, status in (
        (f"http://{host}", host, 200),
        ("http://evil.example", host, 403),
        (f"http://evil.example:{client.port}", f"evil.example:{client.port}", 403),
        ("null", host, 403),
    ):
        answer = client.ask("POST", path, body, {"Origin": origin, "Host": name})
        assert answer.status == status


def test_tokens(tmp_path: Path) -> None:
    model = write_model(tmp_path / "net.onnx", SOFTMAX)
    with serving(model, token=TOKEN) as client:
        for path in ("/v2/health/live", "/v2/health/ready", "/v2"):
            assert client.ask("GET", path, headers={"Authorization": ""}).status == 200
        for path in ("/metrics", "/monitor", "/v2/models/net", "/v2/models/stats"):
            answer = client.ask("GET", path, headers={"Authorization": "Bearer wrong"})
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert client.ask("GET", path).status == 200
        assert client.infer(np.ones((1, 4))).status == 200
        assert client.ask("POST", "/v2/repository/models/net/load").status == 200
        statuses = {
            client.ask("GET", "/metrics", headers={"Authorization": "Basic x"}).status
            for _ in range(30)
        }
        assert statuses == {401, 429}


def test_a_control_token_leaves_the_rest_open(tmp_path: Path) -> None:
    model = write_model(tmp_path / "net.onnx")
    with serving(model, control_token=TOKEN) as client:
        path = "/v2/repository/models/net/unload"
        assert client.infer(np.ones((1, 4))).status == 200
        assert client.ask("POST", path).status == 401
        assert client.ask("POST", path, headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
        assert client.infer(np.ones((1, 4))).status == 503


def test_too_many_connections_are_closed(tmp_path: Path) -> None:
    model = write_model(tmp_path / "net.onnx")
    with serving(model, limits=ServeLimits(connections=3)) as client:
        assert client.ask("GET", "/v2").status == 200
        open_ones = [client.raw() for _ in range(2)]
        with client.raw() as third, suppress(ConnectionResetError):
            assert third.recv(10) == b""
        for one in open_ones:
            one.close()
        assert client.ask("GET", "/v2").status == 200


def test_without_batches_and_with_threads(tmp_path: Path) -> None:
    model = write_model(tmp_path / "net.onnx")
    options = ModelOptions(max_batch=1, replicas=2, threads=2)
    with serving(model, model=options) as client:
        x = np.ones((700, 4), np.float32)
        assert binary_output(client.infer_binary(x)).tobytes() == (2 * x).tobytes()


@pytest.mark.parametrize("begun", [b"", b"{"])
def test_a_body_that_never_comes_is_given_up(tmp_path: Path, begun: bytes) -> None:
    model = write_model(tmp_path / "net.onnx")
    with serving(model, limits=ServeLimits(stall_seconds=0.1)) as client, client.raw() as raw:
        raw.sendall(
            b"POST /v2/models/net/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n" + begun
        )
        raw.settimeout(20)
        assert raw.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_answers_that_nobody_reads_are_given_up(tmp_path: Path) -> None:
    model = write_model(tmp_path / "net.onnx")
    x = np.zeros((500_000, 4), np.float32)
    head, body = binary_body(x)
    with serving(model, limits=ServeLimits(stall_seconds=0.2)) as client:
        with client.raw() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.sendall(
                b"POST /v2/models/net/infer HTTP/1.1\r\nHost: a\r\n"
                b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
                % (len(head), len(head) + len(body))
            )
            raw.sendall(head + body)
            deadline = time.monotonic() + 20
            open_ones = 2.0
            while open_ones > 1 and time.monotonic() < deadline:
                time.sleep(0.1)
                text = client.ask("GET", "/metrics").body.decode()
                open_ones = float(text.split("\nkilnx_connections ")[1].split()[0])
        assert open_ones == 1
