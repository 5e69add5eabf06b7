"""The calls of ``GRPCInferenceService``: each takes a message and gives the one that answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from runtimes.serving.grpc.access import Access
from runtimes.serving.grpc.documents import (
    index_message,
    model_message,
    server_message,
    statistics_message,
)
from runtimes.serving.grpc.messages import MESSAGE_CLASSES
from runtimes.serving.grpc.requests import read_request, write_response
from runtimes.serving.grpc.status import code_of, trailer_of
from runtimes.serving.protocol.backend import Backend
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits

AsError: TypeAlias = Callable[[Exception], ProtocolError]
Call: TypeAlias = Callable[[Any, Any], Awaitable[Any]]


class Calls:
    """The calls, on one server.

    Attributes:
        access: Who may call what.
    """

    def __init__(
        self, backend: Backend, limits: ProtocolLimits, access: Access, as_error: AsError
    ) -> None:
        self._backend, self._limits, self.access = backend, limits, access
        self._as_error = as_error

    def guarded(self, name: str) -> Call:
        """The call of this name, errors of which become gRPC's."""
        call: Call = getattr(self, _METHODS[name])

        async def answer(request: Any, context: Any) -> Any:
            try:
                return await call(request, context)
            except Exception as error:
                known = self._as_error(error)
            await context.abort(code_of(known), known.message, trailer_of(known))

        return answer

    async def live(self, request: Any, context: Any) -> Any:
        """``ServerLive``: whoever can answer is alive."""
        return MESSAGE_CLASSES["ServerLiveResponse"](live=True)

    async def ready(self, request: Any, context: Any) -> Any:
        """``ServerReady``."""
        return MESSAGE_CLASSES["ServerReadyResponse"](ready=self._backend.ready)

    async def model_ready(self, request: Any, context: Any) -> Any:
        """``ModelReady``."""
        self.access.check(context)
        found = self._backend.models.ready(request.name, request.version or None)
        return MESSAGE_CLASSES["ModelReadyResponse"](ready=found)

    async def metadata(self, request: Any, context: Any) -> Any:
        """``ServerMetadata``."""
        self.access.check(context)
        return server_message(self._backend.metadata)

    async def model_metadata(self, request: Any, context: Any) -> Any:
        """``ModelMetadata``."""
        self.access.check(context)
        return model_message(self._backend.models.metadata(request.name, request.version or None))

    async def statistics(self, request: Any, context: Any) -> Any:
        """``ModelStatistics``."""
        self.access.check(context)
        models = self._backend.models
        return statistics_message(models.statistics(request.name or None, request.version or None))

    async def index(self, request: Any, context: Any) -> Any:
        """``RepositoryIndex``."""
        self.access.check(context)
        return index_message(self._backend.models.index(ready=request.ready))

    async def load(self, request: Any, context: Any) -> Any:
        """``RepositoryModelLoad``."""
        self.access.check_control(context)
        await self._backend.models.load(request.model_name)
        return MESSAGE_CLASSES["RepositoryModelLoadResponse"]()

    async def unload(self, request: Any, context: Any) -> Any:
        """``RepositoryModelUnload``."""
        self.access.check_control(context)
        await self._backend.models.unload(request.model_name)
        return MESSAGE_CLASSES["RepositoryModelUnloadResponse"]()

    async def infer(self, message: Any, context: Any) -> Any:
        """``ModelInfer``; the deadline of the call is the request's."""
        self.access.check(context)
        return await self._infer(message, context.time_remaining())

    async def stream(self, messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """``ModelStreamInfer``: each request is answered in turn, and an error ends nothing."""
        made = MESSAGE_CLASSES["ModelStreamInferResponse"]
        try:
            self.access.check(context)
        except ProtocolError as error:
            await context.abort(code_of(error), error.message)
        async for message in messages:
            try:
                yield made(infer_response=await self._infer(message, context.time_remaining()))
            except Exception as error:
                yield made(error_message=self._as_error(error).message)

    async def _infer(self, message: Any, timeout: float | None) -> Any:
        request = read_request(message, self._limits)
        response = await self._backend.infer(
            message.model_name, message.model_version or None, request, timeout=timeout
        )
        return write_response(response, request)


_METHODS = {
    "ServerLive": "live",
    "ServerReady": "ready",
    "ModelReady": "model_ready",
    "ServerMetadata": "metadata",
    "ModelMetadata": "model_metadata",
    "ModelInfer": "infer",
    "ModelStatistics": "statistics",
    "RepositoryIndex": "index",
    "RepositoryModelLoad": "load",
    "RepositoryModelUnload": "unload",
}
