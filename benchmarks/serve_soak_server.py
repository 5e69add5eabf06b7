"""kilnx serve with a model whose answers are known, and clients that keep asking it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_client import Tally, Target, keep_asking
from serve_models import ROOT
from serve_process import free_port, started
from serve_soak_model import write_identity

TOKEN = "soak-of-the-server"


@dataclass(frozen=True)
class Soaked:
    """A started server."""

    port: int
    process: Any
    log: Path
    folder: Path

    @property
    def model(self) -> Path:
        """The file that it serves."""
        return self.folder / "model.onnx"

    def target(self, width: int, timeout_ms: int | None = None) -> Target:
        """Where clients ask."""
        return Target("127.0.0.1", self.port, width, timeout_ms=timeout_ms)


@contextmanager
def soaked(folder: Path, *more: str, **model: Any) -> Iterator[Soaked]:
    """A server of ``write_identity(**model)`` in ``folder``, with a control token."""
    write_identity(folder / "model.onnx", "first", **model)
    port = free_port()
    command = [sys.executable, "-m", "converter", "serve", f"model={folder / 'model.onnx'}"]
    command += ["--port", str(port), "--control-token", TOKEN, *more]
    log = folder / "log"
    ready = f"http://127.0.0.1:{port}/v2/health/ready"
    with started(command, ready, log, environment={"PYTHONPATH": str(ROOT)}) as process:
        yield Soaked(port, process, log, folder)


@asynccontextmanager
async def asked(
    target: Target, clients: int, ended: list[float] | None = None
) -> AsyncIterator[Tally]:
    """``clients`` keep asking while the block runs; what came of it is in the tally after it."""
    tally, stop = Tally(), asyncio.Event()
    moments = [] if ended is None else ended
    tasks = [
        asyncio.create_task(keep_asking(target, tally, stop, seed, moments))
        for seed in range(clients)
    ]
    try:
        yield tally
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


def faults(log: Path) -> Sequence[str]:
    """Lines of the server's log that begin a traceback, or tell of a defect."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if "Traceback" in line or "Segmentation" in line]
