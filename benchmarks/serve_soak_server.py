"""kilnx serve with a model whose answers are known, and clients that keep asking it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from serve_client import Tally, Target, keep_asking
from serve_models import IDENTITY, ROOT
from serve_process import free_port, started

TOKEN = "soak-of-the-server"
COPY = onnx.parser.parse_model(IDENTITY)


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
def soaked(folder: Path, *more: str, weights: int = 0, rounds: int = 0) -> Iterator[Soaked]:
    """A server of ``identity`` in ``folder``, with a control token."""
    write_identity(folder / "model.onnx", "first", weights=weights, rounds=rounds)
    port = free_port()
    command = [sys.executable, "-m", "converter", "serve", f"model={folder / 'model.onnx'}"]
    command += ["--port", str(port), "--control-token", TOKEN, *more]
    log = folder / "log"
    ready = f"http://127.0.0.1:{port}/v2/health/ready"
    with started(command, ready, log, environment={"PYTHONPATH": str(ROOT)}) as process:
        yield Soaked(port, process, log, folder)


def write_identity(path: Path, note: str, *, weights: int = 0, rounds: int = 0) -> None:
    """A model that copies its input, at once by name; ``note`` makes its bytes differ.

    ``weights`` bytes are multiplied with zero and added; ``rounds`` products of 256 × 256 matrices
    that leave the input as it is make it slow.
    """
    model = onnx.ModelProto()
    model.CopyFrom(COPY)
    model.doc_string = note
    last = "image"
    graph = model.graph
    if rounds:
        graph.initializer.append(numpy_helper.from_array(np.eye(256, dtype=np.float32), "one"))
        for step in range(rounds):
            graph.node.insert(step, onnx.helper.make_node("MatMul", [last, "one"], [f"step{step}"]))
            last = f"step{step}"
        graph.node[-1].input[0] = last
    if weights:
        many = np.random.default_rng(0).random(weights // 4, np.float32)
        graph.initializer.append(numpy_helper.from_array(many, "many"))
        graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
        # What depends on the input is not folded away when the model is opened.
        for name, inputs, output in (
            ("ReduceMax", [last], "most"),
            ("Mul", ["many", "most"], "scaled"),
            ("ReduceMax", ["scaled"], "high"),
            ("Mul", ["high", "zero"], "nothing"),
        ):
            node = onnx.helper.make_node(name, inputs, [output])
            if name == "ReduceMax":
                node.attribute.append(onnx.helper.make_attribute("keepdims", 0))
            graph.node.insert(len(graph.node) - 1, node)
        graph.node[-1].CopyFrom(onnx.helper.make_node("Add", [last, "nothing"], ["copy"]))
    onnx.checker.check_model(model)
    replacement = path.with_suffix(".new")
    replacement.write_bytes(model.SerializeToString())
    replacement.replace(path)


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
