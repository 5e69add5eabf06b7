"""A link that breaks; a device that is slow, away, started anew, or not to be trusted."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certificates import make_certificate

from runtimes import DataError, Device, ModelError, RuntimeUnavailable, open_runtime
from runtimes.agent.messages import DeviceInfo, MachineTold
from runtimes.agent.protocol import encode
from runtimes.agent.server import AgentOptions, AgentServer, running
from runtimes.json_values import plain

Files = Mapping[str, Path]
X = np.arange(2, dtype=np.float32).reshape(1, 2)
TOKEN = "a token that only tests know"


class CuttingProxy:
    """Forwards connections, and cuts each when so many bytes went through, again and again."""

    def __init__(self, target: str, sizes: Iterator[int]) -> None:
        host, _, port = target.rpartition(":")
        self._target, self._sizes, self.cuts = (host, int(port)), sizes, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in list(self._threads):
            one.join(10)

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        left = [next(self._sizes)]
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=self._copy, args=(server, client, left), daemon=True)
            back.start()
            self._copy(client, server, left)
            back.join(10)

    def _copy(self, source: socket.socket, target: socket.socket, left: list[int]) -> None:
        with suppress(OSError):
            while piece := source.recv(1024):
                target.sendall(piece[: max(0, left[0])])
                left[0] -= len(piece)
                if left[0] <= 0:
                    self.cuts += 1
                    break
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def test_nothing_is_done_twice_or_lost_when_the_link_breaks(
    agent: AgentServer, files: Files
) -> None:
    rng = np.random.default_rng(0)
    proxy = CuttingProxy(agent.address, iter(rng.integers(300, 2500, 10_000).tolist()))
    before = set(agent.jobs._jobs)
    device = Device(proxy.address, agent.token, patience=30)
    with open_runtime(files["linear"], device=device) as there, open_runtime(files["linear"]) as me:
        for scale in range(12):
            feed = {"x": X * scale}
            np.testing.assert_array_equal(there.run(feed)["y"], me.run(feed)["y"])
        (name,) = set(agent.jobs._jobs) - before
        assert agent.jobs._jobs[name]._number == 1 + 12  # opened once, and each run once
    proxy.close()
    assert proxy.cuts > 5


def test_an_agent_that_is_started_anew_goes_on(files: Files, tmp_path: Path) -> None:
    options = AgentOptions(port=0, token=TOKEN, cache=tmp_path)
    with running(options) as first:
        port = int(first.server_address[1])
        device = Device(first.address, TOKEN, patience=20)
        there = open_runtime(files["linear"], device=device)
        expected = there.run({"x": X})["y"]
    with running(replace(options, port=port)) as second:
        np.testing.assert_array_equal(there.run({"x": X})["y"], expected)
        assert len(second.jobs._jobs) == 1
        there.close()
        assert not second.jobs._jobs


def test_an_agent_that_does_not_come_back_is_not_waited_for(files: Files, tmp_path: Path) -> None:
    with running(AgentOptions(port=0, token=TOKEN, cache=tmp_path)) as agent:
        there = open_runtime(files["linear"], device=Device(agent.address, TOKEN, patience=0.3))
    with pytest.raises(RuntimeUnavailable, match="is not reached") as error:
        there.run({"x": X})
    assert error.value.exit_code == 3
    there.close()


def test_a_slow_device_is_waited_for(
    agent: AgentServer, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.agent.routes.POLL_SECONDS", 0.02)
    before = set(agent.jobs._jobs)
    with open_runtime(files["linear"], device=Device(agent.address, agent.token)) as there:
        (name,) = set(agent.jobs._jobs) - before
        pid = agent.jobs._jobs[name].pid
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (pid, signal.SIGCONT)).start()
        assert there.run({"x": X})["y"].shape == (1, 3)
        assert agent.jobs._jobs[name]._number == 2


def test_parts_that_were_thrown_away_are_sent_again(agent: AgentServer, files: Files) -> None:
    device = Device(agent.address, agent.token)
    store: Any = agent.routes._store  # type: ignore[attr-defined]
    with open_runtime(files["external"], device=device) as there:
        expected = there.run({"x": X})["y"]
        for digest in list(store._sizes):
            store.forget(digest)
    with open_runtime(files["external"], device=device) as there:
        for digest in list(store._sizes):
            store.forget(digest)
        agent.jobs.end_all()  # the model has to be opened, and its parts sent, once more
        agent.jobs._closed = False
        np.testing.assert_array_equal(there.run({"x": X})["y"], expected)


ABOUT = plain(DeviceInfo(1, "0", MachineTold("cpu", (), "1", 1), 1, 1, "3", "Linux", {}, 2**20, 1))


@contextmanager
def device_that_answers(answers: Callable[[str, str], tuple[int, bytes]]) -> Iterator[Device]:
    """A device that says whatever ``answers`` gives for method and path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answers(self.command, self.path)
            if self.path == "/v1/info" and status == 0:
                status, body = 200, json.dumps(ABOUT).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Device(f"127.0.0.1:{server.server_address[1]}", TOKEN, patience=0.5)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "no agent of kilnx"),
        (200, b"[]", "no agent of kilnx"),
        (200, b'{"protocol": 2, "kilnx": "9\\u001b[2J"}', r"is kilnx 9\[2J, and speaks protocol 2"),
        (200, b'{"protocol": 1}', "is not understood: .* lacks"),
        (404, b"", "answers 404 Not Found; is a kilnx agent"),
        (500, b"{}", "answers 500"),
        (302, b"", "answers 302"),
        (799, b"", "not reached.*status 799"),
    ],
)
def test_what_is_no_agent_is_named(status: int, body: bytes, reason: str) -> None:
    with (
        device_that_answers(lambda *_: (status, body)) as device,
        pytest.raises(RuntimeUnavailable, match=reason),
    ):
        device.info()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"junk", "not understood: this is no frame"),
        (encode({"ok": {}}), "not understood: .* lacks inputs"),
        (encode({"neither": 1}), "not understood: the missing parts"),
        (encode({"missing": []}), "cannot keep the model"),
        (encode({"ok": None}), "not understood"),
    ],
)
def test_answers_that_are_none(files: Files, answer: bytes, reason: str) -> None:
    def answers(method: str, path: str) -> tuple[int, bytes]:
        if path == "/v1/info":
            return 0, b""
        if path == "/v1/missing":
            return 200, b'{"missing": []}'
        return 200, answer if method == "POST" else b"{}"

    with (
        device_that_answers(answers) as device,
        pytest.raises(RuntimeUnavailable, match=reason),
    ):
        open_runtime(files["linear"], device=device)


def test_an_error_that_is_told_runs_nothing_and_shows_no_controls(files: Files) -> None:
    told = {"error": {"kind": "SystemExit", "message": "a\nb" + "x" * 5000}}

    def answers(method: str, path: str) -> tuple[int, bytes]:
        return (422, json.dumps(told).encode()) if method == "PUT" else (0, b"")

    with device_that_answers(answers) as device, pytest.raises(ModelError) as error:
        open_runtime(files["linear"], device=device)
    assert str(error.value).startswith(f"on {device}: a bx")
    assert len(str(error.value)) < 2100


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


def test_tls_is_verified(
    certificate: tuple[Path, Path],
    start: Callable[..., AgentServer],
    files: Files,
    tmp_path: Path,
) -> None:
    cert, key = certificate
    agent = start(cert=cert, key=key, limits={"head_seconds": 2.0})
    with open_runtime(files["linear"], device=Device(agent.address, TOKEN, cert)) as there:
        assert there.run({"x": X})["y"].shape == (1, 3)
    with pytest.raises(RuntimeUnavailable, match=r"is not trusted .*--device-ca"):
        Device(f"https://{agent.address}", TOKEN).info()
    localhost = agent.address.replace("127.0.0.1", "localhost")
    with pytest.raises(RuntimeUnavailable, match="is not trusted"):
        Device(localhost, TOKEN, cert).info()
    with pytest.raises(RuntimeUnavailable, match="not reached without TLS"):
        Device(agent.address, TOKEN, patience=0.2).info()
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(DataError, match="no file of certificates"):
        Device(agent.address, TOKEN, junk).info()
    with socket.create_connection(agent.server_address[:2], timeout=20) as silent:
        assert silent.recv(1) == b""  # who does not begin TLS is cut off


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"token": "short"}, "5 characters can be guessed"),
        ({"host": "0.0.0.0"}, "give a certificate .* or say --plain"),
        ({"key": Path("key.pem")}, "--key is the key of a certificate"),
        ({"cert": Path("nowhere.pem")}, "nowhere.pem or its key cannot be used"),
        ({"host": "no such host", "plain": True}, "is no address to listen on"),
    ],
)
def test_where_an_agent_does_not_listen(
    start: Callable[..., AgentServer], options: Any, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        start(**options)


def test_two_agents_do_not_share_a_port(
    agent: AgentServer, start: Callable[..., AgentServer]
) -> None:
    with pytest.raises(DataError, match=r"cannot listen on 127.*in use"):
        start(port=agent.server_address[1])
