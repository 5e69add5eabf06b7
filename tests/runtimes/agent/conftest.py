"""One agent for the tests that leave it as it was, and others that are started for a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from engine_models import write_onnx_files

from runtimes import Device
from runtimes.agent.limits import Limits
from runtimes.agent.server import AgentOptions, AgentServer, running

TOKEN = "a token that only tests know"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_onnx_files(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    cache = tmp_path_factory.mktemp("agent")
    # No test is slowed down by how fast it asks.
    limits = Limits(requests_per_second=1e6, connections_each=64, jobs=8)
    with running(AgentOptions(port=0, token=TOKEN, cache=cache, limits=limits)) as server:
        yield server


@pytest.fixture
def device(agent: AgentServer) -> Device:
    return Device(agent.address, TOKEN, patience=10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., AgentServer]]:
    """Start an agent with limits of its own."""
    with ExitStack() as stack:

        def one(*, limits: Any = None, **options: Any) -> AgentServer:
            options = {"port": 0, "token": TOKEN, "cache": tmp_path / "cache", **options}
            return stack.enter_context(
                running(AgentOptions(limits=Limits(**(limits or {})), **options))
            )

        yield one
