"""``POST /v2/models/M/infer``: the path that every request takes, so it does only what it must."""

from __future__ import annotations

from collections.abc import Sequence

from runtimes.base import Array
from runtimes.serving.access import Access
from runtimes.serving.exchange import Answer, Asked, Exchange, Headers
from runtimes.serving.prepared import Prepared, PreparedRequests
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import InferRequest
from runtimes.serving.protocol.parse import parse_infer
from runtimes.serving.protocol.write import write_infer
from runtimes.serving.server import Server
from runtimes.serving.tracing import Tracing
from runtimes.serving.version import Begun

Parts = tuple[Headers, list[bytes | memoryview]]
"""The headers of an answer, and the parts of its body."""

_LENGTH = b"inference-header-content-length"
_TIMEOUT = b"x-request-timeout-ms"
_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")


class InferHandler:
    """Parses, runs and writes."""

    def __init__(self, server: Server, access: Access) -> None:
        options = server.options
        self._models, self._access = server.models, access
        self._limits = ProtocolLimits(
            body_bytes=options.limits.body_bytes, tensors=options.limits.tensors
        )
        self._prepared = PreparedRequests()
        self._tracing = Tracing.start() if options.trace else None

    async def __call__(self, name: str, version: str | None, exchange: Exchange) -> Answer:
        """Answer a request for ``version`` of the model ``name``, or for its newest."""
        self._access.check(exchange)
        body = await exchange.body()
        if self._tracing is None:
            return await self._answer(name, version, exchange, body)
        with self._tracing.span(name, version, exchange):
            return await self._answer(name, version, exchange, body)

    def begin(
        self, name: str, version: str | None, asked: Asked, body: bytes
    ) -> tuple[Begun, Prepared | None]:
        """Run a request whose body is there, or put it where it waits.

        Raises ``ProtocolError`` and what the model raises; ``finish`` makes the answer.
        """
        headers = asked.headers
        prepared, request = self._parsed(body, headers.get(_LENGTH))
        timeout = headers.get(_TIMEOUT)
        # The version is looked up when all is there: it may have been replaced meanwhile.
        begun = self._models.get(name, version).begin(
            request,
            timeout=None if timeout is None else _whole(timeout) / 1000,
            client=asked.client,
        )
        return begun, prepared

    @staticmethod
    def finish(begun: Begun, prepared: Prepared | None, outputs: Sequence[Array]) -> Parts:
        """The answer to a request that was run."""
        response = begun.version.finish(begun, outputs)
        if prepared is not None:
            known = prepared.written(response)
            if known is not None:
                return [_BINARY, (_LENGTH, b"%d" % len(known[0]))], known
        chunks, json_length = write_infer(response, begun.request)
        if prepared is not None:
            prepared.keep_answer(response, chunks, json_length)
        if json_length is None:
            return [_JSON], chunks
        return [_BINARY, (_LENGTH, b"%d" % json_length)], chunks

    async def _answer(
        self, name: str, version: str | None, exchange: Exchange, body: bytes
    ) -> Answer:
        begun, prepared = self.begin(name, version, exchange, body)
        outputs = await begun.version.outputs_of(begun)
        headers, chunks = self.finish(begun, prepared, outputs)
        return 200, headers, b"".join(chunks)

    def _parsed(self, body: bytes, length: bytes | None) -> tuple[Prepared | None, InferRequest]:
        """The request, and what is known of others like it."""
        if length is None:
            return None, parse_infer(body, None, self._limits)
        header = _whole(length)
        prepared = self._prepared.find(body, header)
        if prepared is not None:
            return prepared, prepared.request(body)
        request = parse_infer(body, header, self._limits)
        return self._prepared.keep(request, body, header), request


def _whole(value: bytes) -> int:
    if not (value.isdigit() and len(value) <= 12):
        raise ProtocolError(400, f"the header value {value[:40]!r} is no whole number")
    return int(value)
