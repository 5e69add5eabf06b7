"""``POST /v2/models/M/infer``: the path that every request takes, so it does only what it must."""

from __future__ import annotations

from runtimes.serving.access import Access
from runtimes.serving.exchange import Answer, Exchange
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.parse import parse_infer
from runtimes.serving.protocol.write import write_infer
from runtimes.serving.server import Server
from runtimes.serving.tracing import Tracing

_LENGTH = b"inference-header-content-length"
_TIMEOUT = b"x-request-timeout-ms"
_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")


class InferHandler:
    """Parses, runs and writes."""

    def __init__(self, server: Server, access: Access) -> None:
        options = server.options
        self._server, self._access = server, access
        self._limits = ProtocolLimits(
            body_bytes=options.limits.body_bytes, tensors=options.limits.tensors
        )
        self._tracing = Tracing.start() if options.trace else None

    async def __call__(self, name: str, version: str | None, exchange: Exchange) -> Answer:
        """Answer a request for ``version`` of the model ``name``, or for its newest."""
        if self._tracing is None:
            return await self._answer(name, version, exchange)
        with self._tracing.span(name, version, exchange):
            return await self._answer(name, version, exchange)

    async def _answer(self, name: str, version: str | None, exchange: Exchange) -> Answer:
        self._access.check(exchange)
        body = await exchange.body()
        headers = exchange.headers
        length = headers.get(_LENGTH)
        request = parse_infer(body, None if length is None else _whole(length), self._limits)
        timeout = headers.get(_TIMEOUT)
        response = await self._server.infer(
            name,
            version,
            request,
            timeout=None if timeout is None else _whole(timeout) / 1000,
            client=exchange.client,
        )
        chunks, json_length = write_infer(response, request)
        written = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if json_length is None:
            return 200, [_JSON], bytes(written)
        return 200, [_BINARY, (_LENGTH, b"%d" % json_length)], bytes(written)


def _whole(value: bytes) -> int:
    if not (value.isdigit() and len(value) <= 12):
        raise ProtocolError(400, f"the header value {value[:40]!r} is no whole number")
    return int(value)
