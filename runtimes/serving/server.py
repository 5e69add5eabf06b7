"""The server without its faces: models, and requests that they answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from runtimes.bundle.signature import require_keys
from runtimes.serving.host import Host
from runtimes.serving.jobs import Client
from runtimes.serving.load import Loader
from runtimes.serving.models import Models
from runtimes.serving.options import ServeOptions
from runtimes.serving.protocol.documents import ServerMetadata
from runtimes.serving.protocol.messages import InferRequest, InferResponse
from runtimes.serving.push.receiver import Receiver
from runtimes.serving.sources import Sources, choose_versions
from runtimes.version import own_version
from runtimes.weight_store.shared_sessions import SharedWeights


class Server:
    """What HTTP, gRPC and the page ask. It belongs to the thread of its event loop.

    Attributes:
        options: What it was told.
        models: What it serves.
        draining: Whether it stops: it finishes what it accepted.
        connections: Tells how many connections are open.
        receiver: What takes bundles that are pushed; None where nobody may push.
    """

    def __init__(self, options: ServeOptions, host: Host) -> None:
        self.options, self.host = options, host
        self.draining = False
        self.connections: Callable[[], int] = lambda: 0
        self._held = ExitStack()
        choose_versions([], options.versions)  # which refuses what is no policy
        if options.verify:
            require_keys(options.verify)
        self._reloading: asyncio.Task[None] | None = None
        model = options.model
        shared = None
        if model.share is not None:
            shared = self._held.enter_context(
                SharedWeights(
                    model.share, provider=model.provider, threads=model.threads, prepack=True
                )
            )
        sources = Sources(options.models, options.repository)
        self.receiver: Receiver | None = None
        if options.accept_pushes and options.repository is not None:
            self.receiver = Receiver(
                options.repository,
                options.limits.push_bytes,
                lambda: [one for found in sources.find().values() for one in found],
                options.verify,
            )
        self.models = Models(
            sources,
            options.versions,
            Loader(options, host, shared),
        )

    @property
    def metadata(self) -> ServerMetadata:
        """Its name, its version, and the extensions that it understands."""
        return ServerMetadata("kilnx", own_version())

    @property
    def ready(self) -> bool:
        """Whether it accepts requests, for every model that it was told to serve."""
        return not self.draining and self.models.all_ready

    async def start(self) -> None:
        """Load all models; raises where one that was named fails.

        What fails in a repository is told in its index: the others are served.
        """
        named = Sources(self.options.models, None).find()
        await self.models.load_all(strict=list(named))

    def reload(self) -> None:
        """Look for models that changed on disk, and load them next to those that answer."""
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self.models.reload_changed())

    async def infer(
        self,
        model: str,
        version: str | None,
        request: InferRequest,
        *,
        timeout: float | None = None,
        client: Client | None = None,
    ) -> InferResponse:
        """Answer a request; raises ``ProtocolError`` and what the model raises."""
        found = self.models.get(model, version)
        return await found.infer(request, timeout=timeout, client=client)

    async def close(self) -> None:
        """Finish what was accepted and free all models."""
        await self.models.close()
        self._held.close()
