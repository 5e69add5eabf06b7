"""What is measured: one kind of request to one server, and how often it is asked."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from process_tree import cpu_seconds
from serve_answers import check, expected
from serve_load import Load, load
from serve_models import model_us
from serve_payloads import Payload
from serve_process import free_port, started
from serve_systems import ROOT, System

GRPC_CLIENT = Path(__file__).with_name("serve_grpc_client.py")


@dataclass(frozen=True)
class Server:
    """A started server: the URL that it infers at, and its process."""

    name: str
    version: str
    url: str
    pid: int


@dataclass(frozen=True)
class Case:
    """``run`` takes a number of clients and seconds."""

    part: str
    server: str
    version: str
    payload: str
    model_us: float
    run: Callable[[int, float], Load]


@dataclass(frozen=True)
class Row:
    """One case under so many clients; medians of the rounds, failures of all of them."""

    part: str
    server: str
    version: str
    payload: str
    clients: int
    cpu_us: float
    model_us: float
    overhead_us: float
    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def measured(
    cases: Sequence[Case], clients: Sequence[int], *, seconds: float, rounds: int
) -> list[Row]:
    """All cases in turn, round after round, after a short run each that warms them up."""
    every = [(case, number) for case in cases for number in clients]
    loads: list[list[Load]] = [[] for _ in every]
    for case, number in every:
        case.run(number, 1)
    for step in range(rounds):
        for place, (case, number) in enumerate(every):
            say = f"round {step + 1} of {rounds}: {case.server}, {case.payload}, {number} clients"
            print(say, file=sys.stderr)
            loads[place].append(case.run(number, seconds))
    return [row(case, number, found) for (case, number), found in zip(every, loads, strict=True)]


def row(case: Case, clients: int, loads: Sequence[Load]) -> Row:
    def median(values: Iterator[float]) -> float:
        return round(statistics.median(values), 3)

    cpu = median(one.cpu_us for one in loads)
    return Row(
        part=case.part,
        server=case.server,
        version=case.version,
        payload=case.payload,
        clients=clients,
        cpu_us=cpu,
        model_us=round(case.model_us, 3),
        overhead_us=round(cpu - case.model_us, 3),
        per_second=median(one.requests / one.seconds for one in loads),
        p50_ms=median(one.p50_ms for one in loads),
        p99_ms=median(one.p99_ms for one in loads),
        failed=sum(one.failed for one in loads),
    )


@contextmanager
def serving(
    system: System, model: Path, cache: Path, *, more: Sequence[str] = ()
) -> Iterator[Server]:
    """Start ``system``, with ``more`` options behind its own."""
    python, port = system.python(cache), free_port()
    with tempfile.TemporaryDirectory() as scratch:
        plan = system.start(python, model, Path(scratch))
        for file in Path(scratch).glob("*.json"):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace('"{port}"', str(port)), encoding="utf-8")
        command = [part.replace("{port}", str(port)) for part in (*plan.command, *more)]
        base = f"http://127.0.0.1:{port}"
        environment = {"KILNX_BENCHMARK_MODEL": str(model)}
        if not system.packages:
            environment["PYTHONPATH"] = str(ROOT)
        with started(
            command,
            base + plan.ready,
            Path(scratch) / "log",
            environment=environment,
            folder=Path(scratch),
        ) as process:
            yield Server(system.name, system.version(python), base + plan.infer, process.pid)


def http_cases(
    part: str, server: Server, payloads: Iterable[Payload], model: Path
) -> Iterator[Case]:
    """Requests by HTTP to which the answer is right; of the others what is wrong is told."""
    for payload in payloads:
        try:
            check(server.url, payload, expected(model, payload))
        except RuntimeError as error:
            print(f"{server.name}, {payload.name} is left out: {error}", file=sys.stderr)
        else:
            yield http_case(part, server, payload, model_us(model, payload.array))


def http_case(part: str, server: Server, payload: Payload, cost: float) -> Case:
    """The same request again and again."""

    def run(clients: int, seconds: float) -> Load:
        return load(server.url, payload, clients, seconds, server.pid)

    return Case(part, server.name, server.version, payload.name, cost, run)


def grpc_load(
    address: str, pid: int, array: np.ndarray[Any, Any], clients: int, seconds: float
) -> Load:
    """The same measurement with gRPC's client in place of wrk."""
    with tempfile.NamedTemporaryFile() as file:
        array.tofile(file.name)
        shape = ",".join(map(str, array.shape))
        arguments = [address, "model", "image", shape, file.name, str(clients), str(seconds)]
        before = cpu_seconds(pid)
        done = subprocess.run(
            [sys.executable, str(GRPC_CLIENT), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        used = cpu_seconds(pid) - before
    found = json.loads(done.stdout.splitlines()[-1])
    return Load(
        requests=found["requests"],
        failed=found["failed"],
        seconds=seconds,
        cpu_seconds=used,
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
    )


def open_all(
    stack: ExitStack, systems: Sequence[System], model: Path, cache: Path
) -> Iterator[tuple[System, Server]]:
    """Every server that installs and starts; of the others the reason is told."""
    for system in systems:
        try:
            yield system, stack.enter_context(serving(system, model, cache))
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{system.name} is left out: {error}", file=sys.stderr)
