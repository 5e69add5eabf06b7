"""How a server is told what to serve, to whom, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runtimes.errors import DataError

DEFAULT_PORT = 8000
LogFormat = Literal["text", "json"]
_MIB = 2**20


@dataclass(frozen=True)
class ServeLimits:
    """What one client, and all of them together, may take.

    Attributes:
        body_bytes: The body of one request.
        flight_bytes: Bodies that are still being received, all together.
        tensors: Inputs of one request.
        queue: Requests that wait for one model.
        seconds: How long a request may take, unless the client asks for less.
        connections: Open connections.
        head_bytes: The head of a request.
        head_seconds: Until the head of a request has arrived.
        idle_seconds: Until a connection without a request is closed.
        stall_seconds: How long a client may neither send nor read.
        push_bytes: A bundle that is pushed, and the parts of unfinished pushes together.
    """

    body_bytes: int = 64 * _MIB
    flight_bytes: int = 512 * _MIB
    tensors: int = 256
    queue: int = 256
    seconds: float = 30.0
    connections: int = 8192
    head_bytes: int = 32 * 2**10
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    stall_seconds: float = 20.0
    push_bytes: int = 4096 * _MIB


@dataclass(frozen=True)
class ModelOptions:
    """How each model is run.

    Attributes:
        threads: Threads of one run.
        replicas: Runs at a time; None takes one for a fast model, else as many as there are cores.
        max_batch: Samples that are run together; 1 runs every request by itself.
        provider: The execution provider.
        monitor: Whether bundles are compared with what was proven of them.
        state: Where the monitor keeps its state; None: nowhere.
        webhook: A URL that alarms are sent to.
        share: A folder through which models, and processes, share equal weights.
        stages: Where stages run whose device is a CPU: in the server's process, or in processes.
        stage_token: What servers that run stages want to know.
        stage_servers: Whether bundles may say on which servers their stages run.
    """

    threads: int = 1
    replicas: int | None = None
    max_batch: int = 32
    provider: str = "cpu"
    monitor: bool = True
    state: Path | None = None
    webhook: str | None = None
    share: Path | None = None
    stages: Literal["threads", "processes"] = "threads"
    stage_token: str | None = field(default=None, repr=False)
    stage_servers: bool = False


@dataclass(frozen=True)
class ServeOptions:
    """Everything that ``kilnx serve`` can be told.

    Attributes:
        models: Paths of ONNX files, bundles and folders, each with or without ``NAME=`` before it.
        repository: A folder of models: ``NAME.onnx``, ``NAME.kilnx``, ``NAME/VERSION/model.onnx``.
        versions: Which versions are served: ``latest``, ``latest:N``, ``all``, or ``1,3``.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        grpc_port: The port for gRPC; None serves none.
        token: What clients have to know; None lets everybody in.
        control_token: What those have to know who load and unload models; None: ``token``.
        cert: The certificate chain for TLS (PEM).
        key: Its private key; None where it is in the same file.
        plain: Whether other machines may connect without TLS.
        watch: Seconds between two looks for changed files; 0 never looks.
        drain: Seconds that accepted requests have to finish when the server stops.
        log_format: How events are written to stderr.
        log_requests: Whether each request is an event.
        trace: Whether OpenTelemetry spans are made.
        page: Whether the page is served at ``/``.
        accept_pushes: Whether who knows the control token may push bundles into ``repository``.
        verify: Public keys of minisign, or their files: only bundles that the owner of one of them
            signed are served, pushed ones among them; none: everything is.
        model: How each model is run.
        limits: What clients may take.
    """

    models: tuple[str, ...] = ()
    repository: Path | None = None
    versions: str = "latest"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    grpc_port: int | None = None
    token: str | None = field(default=None, repr=False)
    control_token: str | None = field(default=None, repr=False)
    cert: Path | None = None
    key: Path | None = None
    plain: bool = False
    watch: float = 0.0
    drain: float = 30.0
    log_format: LogFormat = "text"
    log_requests: bool = False
    trace: bool = False
    page: bool = True
    accept_pushes: bool = False
    verify: tuple[str, ...] = ()
    model: ModelOptions = field(default_factory=ModelOptions)
    limits: ServeLimits = field(default_factory=ServeLimits)

    def __post_init__(self) -> None:
        if not self.models and self.repository is None:
            raise DataError("nothing to serve; name a model, or a folder with --repository")
        if self.accept_pushes and self.repository is None:
            raise DataError("a server that accepts pushes needs a folder for them (--repository)")
        if self.accept_pushes and self.control_token is None and self.token is None:
            raise DataError(
                "only those who know a token may push; give one with --control-token or --token"
            )
