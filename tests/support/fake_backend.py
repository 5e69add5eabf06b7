"""A server without a model: it answers what it is asked, in the ways that tests need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runtimes.serving.protocol.documents import (
    IndexEntry,
    InferStatistics,
    ModelMetadata,
    ModelStatistics,
    ServerMetadata,
    StatisticDuration,
    TensorMetadata,
)
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.messages import InferRequest, InferResponse


class Overloaded(ProtocolError):
    """Says when to try again."""

    seconds = 0.25


class FakeModels:
    """One model, ``echo``, with one version."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ready(self, name: str, version: str | None) -> bool:
        return name == "echo" and version in {None, "1"}

    def metadata(self, name: str, version: str | None) -> ModelMetadata:
        if not self.ready(name, version):
            raise ProtocolError(404, f"there is no model {name!r}")
        x = TensorMetadata("x", "FP32", (-1, 2))
        return ModelMetadata(name, ("1",), "onnx", (x,), (x,))

    def index(self, *, ready: bool = False) -> Sequence[IndexEntry]:
        broken = IndexEntry("broken", "1", "UNAVAILABLE", "no such file")
        return [IndexEntry("echo", "1", "READY"), *([] if ready else [broken])]

    def statistics(self, name: str | None, version: str | None) -> Sequence[ModelStatistics]:
        done = InferStatistics(success=StatisticDuration(3, 4))
        return [ModelStatistics(name or "echo", version or "1", inference_stats=done)]

    async def load(self, name: str) -> None:
        self.asked.append(f"load {name}")

    async def unload(self, name: str) -> None:
        self.asked.append(f"unload {name}")


class FakeBackend:
    """Echoes inputs as outputs; the names of models say what else it does."""

    def __init__(self) -> None:
        self.models, self.ready = FakeModels(), True
        self.metadata = ServerMetadata("fake", "1")
        self.timeout: float | None = None
        self.cancelled = asyncio.Event()

    async def infer(
        self, model: str, version: str | None, request: InferRequest, *, timeout: float | None
    ) -> InferResponse:
        self.timeout = timeout
        if model.isdigit():
            raise ProtocolError(int(model), f"status {model}")
        if model == "defect":
            raise ZeroDivisionError("a secret")
        if model == "overloaded":
            raise Overloaded(429, "too much")
        if model == "slow":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        labels = {"x": ("no", "yes")}
        return InferResponse(
            model, version or "1", request.id, request.inputs, {"fp32": True}, labels
        )
