"""What the faces of a server (REST, gRPC) ask of what is behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runtimes.serving.protocol.documents import (
    IndexEntry,
    ModelMetadata,
    ModelStatistics,
    ServerMetadata,
)
from runtimes.serving.protocol.messages import InferRequest, InferResponse


class Models(Protocol):
    """The repository of models; what is wrong is a ``ProtocolError``.

    ``version`` is None or empty for the version that the server chooses.
    """

    def ready(self, name: str, version: str | None) -> bool:
        """Whether the model answers requests; False for one that does not exist."""

    def metadata(self, name: str, version: str | None) -> ModelMetadata:
        """Its inputs and outputs."""

    def index(self, *, ready: bool = False) -> Sequence[IndexEntry]:
        """All models, or those that are ready."""

    def statistics(self, name: str | None, version: str | None) -> Sequence[ModelStatistics]:
        """Of one version, of all versions of a model, or of all models (``name`` None or empty)."""

    async def load(self, name: str) -> None:
        """Load it, or load it anew."""

    async def unload(self, name: str) -> None:
        """Answer no more requests for it, and free its memory."""


class Backend(Protocol):
    """A server without its faces."""

    @property
    def models(self) -> Models:
        """Its models."""

    @property
    def metadata(self) -> ServerMetadata:
        """Its name, its version, and the extensions that it understands."""

    @property
    def ready(self) -> bool:
        """Whether it accepts requests: it does not while it starts, or drains."""

    async def infer(
        self, model: str, version: str | None, request: InferRequest, *, timeout: float | None
    ) -> InferResponse:
        """Run a request, by ``timeout`` seconds from now if that is not None."""
