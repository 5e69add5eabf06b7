"""One HTTP request, as the routes see it, with every size and wait bounded."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from runtimes.serving.errors import ClientLeft, Unavailable
from runtimes.serving.jobs import Client
from runtimes.serving.options import ServeLimits
from runtimes.serving.protocol.errors import ProtocolError

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

CLIENT = "kilnx.client"
"""Where the scope holds the connection's transport, if the HTTP server puts it there."""

COMPLETE = "kilnx.complete"
"""Where the scope says that the whole body is there, if the HTTP server puts that there."""

# Bodies that come slower than this are given up, after some seconds of grace.
_LEAST_BYTES_PER_SECOND = 32 * 2**10


class Flight:
    """Bytes of bodies that are being received, of all requests together."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0

    def take(self, size: int) -> None:
        """Make room for ``size`` bytes; raises where there is none."""
        if self.used + size > self.most:
            raise Unavailable("the server is receiving too much at once; try again later")
        self.used += size


class Asked:
    """A request, as far as its head tells.

    Attributes:
        path: What is asked for.
        headers: By name, which is in lower case.
        client: Whoever waits for the answer, where that is known.
        peer: The client's address and port, where they are known.
    """

    __slots__ = ("client", "headers", "path", "peer")

    def __init__(
        self, path: str, headers: dict[bytes, bytes], client: Client | None, peer: Any
    ) -> None:
        self.path, self.headers, self.client, self.peer = path, headers, client, peer

    @property
    def address(self) -> str:
        """The address of the client, without its port."""
        return str(self.peer[0]) if self.peer else ""

    def text(self, name: bytes) -> str:
        """A header; empty where it is not there."""
        return self.headers.get(name, b"").decode("latin-1")

    def must_close(self) -> bool:
        """Whether what is left of the body is too large, or of unknown size, to be skipped."""
        return False


class Exchange(Asked):
    """A request whose head is there, and its body when somebody asks for it."""

    __slots__ = ("_flight", "_limits", "_receive", "is_read", "scope")

    def __init__(self, scope: Scope, receive: Receive, limits: ServeLimits, flight: Flight) -> None:
        super().__init__(
            scope["path"], dict(scope["headers"]), scope.get(CLIENT), scope.get("client")
        )
        self.scope, self._receive, self._limits, self._flight = scope, receive, limits, flight
        self.is_read = False

    async def body(self) -> bytes:
        """The body, decompressed; raises ``ProtocolError`` where it is too large or too slow."""
        headers, most = self.headers, self._limits.body_bytes
        length = headers.get(b"content-length")
        if length is not None and int(length) > most:
            raise self._too_large()
        if COMPLETE in self.scope:
            body: bytes = (await self._part()).get("body", b"")
        else:
            body = await self._slowly()
        self.is_read = True
        if len(body) > most:
            raise self._too_large()
        if b"content-encoding" in headers:
            body = self._decompressed(body)
        return body

    def must_close(self) -> bool:
        """Whether a body that nobody read is too large, or of unknown size, to be skipped."""
        if self.is_read:
            return False
        length = self.headers.get(b"content-length", b"0")
        return b"transfer-encoding" in self.headers or int(length) > self._limits.head_bytes

    async def _part(self) -> Mapping[str, Any]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        return message

    async def _slowly(self) -> bytes:
        """A body that is still on its way, at a least speed."""
        size = int(self.headers.get(b"content-length", self._limits.body_bytes))
        parts: list[bytes] = []
        total, more = 0, True
        try:
            async with asyncio.timeout(self._limits.stall_seconds + size / _LEAST_BYTES_PER_SECOND):
                while more:
                    message = await self._part()
                    part: bytes = message.get("body", b"")
                    more = message.get("more_body", False)
                    if total + len(part) > self._limits.body_bytes:
                        raise self._too_large()
                    self._flight.take(len(part))
                    total += len(part)
                    parts.append(part)
        except TimeoutError as error:
            raise ProtocolError(408, "the body came too slowly") from error
        finally:
            self._flight.used -= total
        return b"".join(parts)

    def _decompressed(self, body: bytes) -> bytes:
        encoding = self.headers[b"content-encoding"].strip().lower()
        if encoding == b"identity":
            return body
        if encoding not in (b"gzip", b"deflate"):
            raise ProtocolError(415, "the body is compressed by something else than gzip, deflate")
        # 32: a header of zlib or gzip, whichever it is.
        engine = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            found = engine.decompress(body, self._limits.body_bytes + 1)
        except zlib.error as error:
            raise ProtocolError(400, f"the compressed body is damaged: {error}") from error
        if len(found) > self._limits.body_bytes:
            raise self._too_large()
        if not engine.eof:
            raise ProtocolError(400, "the compressed body is cut off")
        return found

    def _too_large(self) -> ProtocolError:
        return ProtocolError(
            413,
            f"the body is larger than the {self._limits.body_bytes} bytes that this server takes "
            "(--max-body); send fewer samples at a time",
        )
