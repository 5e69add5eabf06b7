"""The agent: a server that runs the models it is sent, for those who know its token."""

from __future__ import annotations

import json
import os
import platform
import secrets
import socket
import threading
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import platformdirs

from runtimes.agent.addresses import DEFAULT_PORT
from runtimes.agent.http_handler import AgentHandler, Answering
from runtimes.agent.jobs import Jobs
from runtimes.agent.limits import Counter, Limits, machine_memory
from runtimes.agent.messages import DeviceInfo, MachineTold
from runtimes.agent.protocol import VERSION
from runtimes.agent.routes import Routes
from runtimes.agent.store import PartStore
from runtimes.atomic_files import scratch_folder
from runtimes.costs.machine import this_machine
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.errors import DataError
from runtimes.json_values import plain
from runtimes.network.rate_limiter import RateLimiter
from runtimes.network.tls import refuse_unsafe, server_tls
from runtimes.network.tokens import refuse_short_token
from runtimes.version import installed_version, own_version

_HOUSEKEEPING_SECONDS = 2.0
# Whoever does not know the token may try so often a second, and so many times at once.
_FAILURES_PER_SECOND, _FAILURES_AT_ONCE = 2.0, 20.0
_BURST_SECONDS = 3.0
_ENGINES = ("onnxruntime", "onnxruntime-gpu", "openvino", "opencv-python-headless", "tract")


@dataclass(frozen=True)
class AgentOptions:
    """Where an agent listens, and whom it lets in.

    Attributes:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        token: What clients have to know; None makes one up.
        cert: The certificate chain for TLS (PEM).
        key: Its private key; None where it is in the same file.
        plain: Whether other machines may connect without TLS.
        cache: The folder in which parts of models are kept; None: the user's cache.
        limits: What clients get.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = field(default=None, repr=False)
    cert: Path | None = None
    key: Path | None = None
    plain: bool = False
    cache: Path | None = None
    limits: Limits = field(default_factory=Limits)


class AgentServer(ThreadingMixIn, TCPServer):
    """A listening agent; ``running`` starts one."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, options: AgentOptions, folder: Path) -> None:
        self.limits, self.token = options.limits, options.token or secrets.token_urlsafe(24)
        self.tls = server_tls(options.cert, options.key)
        self.rate = RateLimiter(
            self.limits.requests_per_second, self.limits.requests_per_second * _BURST_SECONDS
        )
        self.failures = RateLimiter(_FAILURES_PER_SECOND, _FAILURES_AT_ONCE)
        self.flight = Counter(self.limits.flight_bytes)
        cache = options.cache or Path(platformdirs.user_cache_dir("kilnx")) / "agent"
        store = PartStore(cache, self.limits.cache_bytes)
        self.jobs = Jobs(folder, store, self.limits)
        self.routes: Answering = Routes(
            self.jobs, store, self.limits, lambda: json.dumps(self.about()).encode()
        )
        self._connections: Tally[str] = Tally()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        family, address = _address(options.host, options.port)
        self.address_family = family
        super().__init__(address, AgentHandler)

    @property
    def address(self) -> str:
        """``host:port``, as clients are given it."""
        host, port = self.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"

    def about(self) -> dict[str, Any]:
        """What the agent says of itself."""
        document: dict[str, Any] = plain(_about(self.limits))
        return document

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, unless there are too many."""
        client = str(client_address[0])
        with self._lock:
            full = self._connections.total() >= self.limits.connections
            if full or self._connections[client] >= self.limits.connections_each:
                self.shutdown_request(request)
                return
            self._connections[client] += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve it, and count it as gone afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections[str(client_address[0])] -= 1
                self._connections += Tally()  # those without any are forgotten

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that failed concerns nobody else."""

    def keep_house(self) -> None:
        """End jobs that nobody uses, until the agent stops."""
        while not self._closing.wait(_HOUSEKEEPING_SECONDS):
            self.jobs.end_idle()

    def stop(self) -> None:
        """Stop accepting, and end all jobs."""
        self._closing.set()
        self.server_close()
        self.jobs.end_all()


@contextmanager
def running(options: AgentOptions) -> Iterator[AgentServer]:
    """Yield an agent that answers in a thread; it is stopped at the end, with all of its jobs.

    Raises ``DataError`` where it cannot listen there, or may not without TLS, and
    ``RuntimeUnavailable`` where this machine has no ONNX Runtime.
    """
    require_onnxruntime()
    _refuse_unsafe(options)
    with scratch_folder() as folder:
        try:
            server = AgentServer(options, folder)
        except OSError as error:
            where = f"{options.host}:{options.port}"
            raise DataError(f"cannot listen on {where}: {error.strerror or error}") from error
        accepting = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        try:
            accepting.start()
            threading.Thread(target=server.keep_house, daemon=True).start()
            yield server
        finally:
            server.shutdown()
            server.stop()
            accepting.join()


def _refuse_unsafe(options: AgentOptions) -> None:
    refuse_short_token(options.token, "then one is made up")
    refuse_unsafe(
        options.host,
        options.cert,
        options.key,
        plain=options.plain,
        seen="the token and the models",
    )


def _address(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise DataError(f"{host!r} is no address to listen on: {error}") from error
    return found[0][0], found[0][4]


def _about(limits: Limits) -> DeviceInfo:
    machine = this_machine(1)
    return DeviceInfo(
        VERSION,
        own_version(),
        MachineTold(machine.cpu, machine.features, machine.onnxruntime, machine.threads),
        os.cpu_count() or 1,
        machine_memory(),
        platform.python_version(),
        platform.platform(),
        {name: found for name in _ENGINES if (found := installed_version([name])) is not None},
        limits.body_bytes,
        limits.jobs,
    )
