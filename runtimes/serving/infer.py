"""``POST /v2/models/M/infer``: the path that every request takes, so it does only what it must."""

from __future__ import annotations

from runtimes.serving.access import Access
from runtimes.serving.exchange import Answer, Exchange
from runtimes.serving.prepared import Prepared, PreparedRequests
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import InferRequest
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

    async def _answer(
        self, name: str, version: str | None, exchange: Exchange, body: bytes
    ) -> Answer:
        headers = exchange.headers
        prepared, request = self._parsed(body, headers.get(_LENGTH))
        timeout = headers.get(_TIMEOUT)
        # The version is looked up when all is there: it may have been replaced meanwhile.
        response = await self._models.get(name, version).infer(
            request,
            timeout=None if timeout is None else _whole(timeout) / 1000,
            client=exchange.client,
        )
        if prepared is not None:
            known = prepared.written(response)
            if known is not None:
                return 200, [_BINARY, (_LENGTH, b"%d" % known[1])], known[0]
        chunks, json_length = write_infer(response, request)
        written = b"".join(chunks)
        if prepared is not None:
            prepared.keep_answer(response, written, json_length)
        if json_length is None:
            return 200, [_JSON], written
        return 200, [_BINARY, (_LENGTH, b"%d" % json_length)], written

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
