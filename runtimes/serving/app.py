"""The server's HTTP face: a plain ASGI callable, without a framework between it and the model."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from runtimes.serving.access import Access
from runtimes.serving.direct import DirectAnswers, Target
from runtimes.serving.errors import INTERNAL, ClientLeft, Overloaded, WrongMethod, as_protocol_error
from runtimes.serving.exchange import Answer, Asked, Exchange, Flight, Headers, Receive, Scope
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.write import write_error
from runtimes.serving.request_log import RequestLog
from runtimes.serving.routes import Routes
from runtimes.serving.server import Server

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LOG = logging.getLogger("kilnx.serving")
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_LONGEST_ID = 128


class App:
    """Answers requests by its routes; whatever goes wrong becomes the status that says so.

    An ASGI server calls it: https://asgi.readthedocs.io/en/latest/specs/www.html.

    Attributes:
        statuses: Answers given, by status.
        direct: Answers what ``direct_target`` finds without ASGI.
    """

    def __init__(self, server: Server) -> None:
        options = server.options
        self.statuses: dict[int, int] = {}
        self._server, self._limits = server, options.limits
        self._flight = Flight(options.limits.flight_bytes)
        access = Access(options.host, options.token, options.control_token)
        self._routes = Routes(server, access, self.statuses)
        self._log = RequestLog() if options.log_requests else None
        self.direct = DirectAnswers(self._routes.infer, access, self._failure)
        self._has_direct = not (options.log_requests or options.trace)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _no_http(scope, receive, send)
            return
        exchange = Exchange(scope, receive, self._limits, self._flight)
        log = self._log
        started = log.start() if log is not None else 0.0
        try:
            handler = self._routes.find(scope["method"], exchange.path)
            status, headers, body = await handler(exchange)
        except ClientLeft:
            self._count(499)
            return
        except Exception as error:
            status, headers, body = self._failure(exchange, error)
        self.finish(exchange, status, headers)
        if self.draining:
            headers.append(_CLOSE)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if log is not None:
            log.write(exchange, status, len(body), started)

    @property
    def draining(self) -> bool:
        """Whether every answer closes its connection."""
        return self._server.draining

    def direct_target(self, url: bytes) -> Target | None:
        """The model that a URL asks for answers, if such a request needs nothing of ASGI."""
        if self._has_direct and not self._server.draining:
            return self._routes.direct.get(url)
        return None

    def finish(self, asked: Asked, status: int, headers: Headers) -> None:
        """Count an answer, and repeat in it what the client calls its request."""
        if b"x-request-id" in asked.headers:
            _repeat_id(asked, headers)
        self._count(status)

    def _count(self, status: int) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def _failure(self, asked: Asked, error: Exception) -> Answer:
        """What a request is answered that failed; a defect is told to the log alone."""
        answered = as_protocol_error(error)
        if answered.status >= 500:
            _log_failure(asked, answered, error)
        headers: Headers = [_JSON]
        if isinstance(answered, Overloaded | WrongMethod):
            headers += answered.headers
        if answered.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b"Bearer"))
        if asked.must_close():
            headers.append(_CLOSE)
        return answered.status, headers, write_error(answered)


def _log_failure(asked: Asked, answered: ProtocolError, error: Exception) -> None:
    about = {
        "path": asked.path[:500],
        "status": answered.status,
        "request_id": asked.text(b"x-request-id")[:_LONGEST_ID],
        "reason": str(answered)[:1000],
    }
    defect = answered.message == INTERNAL
    _LOG.log(
        logging.ERROR if defect else logging.WARNING,
        "request failed",
        exc_info=error if defect else None,
        extra=about,
    )


def _repeat_id(asked: Asked, headers: Headers) -> None:
    """Answer with the client's own name for its request, if it is one."""
    given = asked.headers[b"x-request-id"]
    if len(given) <= _LONGEST_ID and given.isascii() and given.decode().isprintable():
        headers.append((b"x-request-id", given))


async def _no_http(scope: Scope, receive: Receive, send: Send) -> None:
    """There is nothing here but HTTP: servers that ask for a start are told that it is done."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1003})
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
