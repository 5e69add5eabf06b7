"""The server's HTTP face: a plain ASGI callable, without a framework between it and the model."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from runtimes.serving.access import Access
from runtimes.serving.errors import INTERNAL, ClientLeft, Overloaded, WrongMethod, as_protocol_error
from runtimes.serving.exchange import Answer, Exchange, Flight, Headers, Receive, Scope
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.write import write_error
from runtimes.serving.request_log import RequestLog
from runtimes.serving.routes import Routes
from runtimes.serving.server import Server

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG = logging.getLogger("kilnx.serving")
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_LONGEST_ID = 128


def app(server: Server) -> AsgiApp:
    """What an ASGI server calls: https://asgi.readthedocs.io/en/latest/specs/www.html."""
    return App(server)


class App:
    """Answers requests by its routes; whatever goes wrong becomes the status that says so.

    Attributes:
        statuses: Answers given, by status.
    """

    def __init__(self, server: Server) -> None:
        options = server.options
        self.statuses: dict[int, int] = {}
        self._server, self._limits = server, options.limits
        self._flight = Flight(options.limits.flight_bytes)
        access = Access(options.host, options.token, options.control_token)
        self._routes = Routes(server, access, self.statuses)
        self._log = RequestLog() if options.log_requests else None

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
        if b"x-request-id" in exchange.headers:
            _repeat_id(exchange, headers)
        if self._server.draining:
            headers.append(_CLOSE)
        self._count(status)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if log is not None:
            log.write(exchange, status, len(body), started)

    def _count(self, status: int) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def _failure(self, exchange: Exchange, error: Exception) -> Answer:
        """What a request is answered that failed; a defect is told to the log alone."""
        answered = as_protocol_error(error)
        if answered.status >= 500:
            _log_failure(exchange, answered, error)
        headers: Headers = [_JSON]
        if isinstance(answered, Overloaded | WrongMethod):
            headers += answered.headers
        if answered.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b"Bearer"))
        if exchange.must_close():
            headers.append(_CLOSE)
        return answered.status, headers, write_error(answered)


def _log_failure(exchange: Exchange, answered: ProtocolError, error: Exception) -> None:
    about = {
        "path": exchange.path[:500],
        "status": answered.status,
        "request_id": exchange.text(b"x-request-id")[:_LONGEST_ID],
        "reason": str(answered)[:1000],
    }
    defect = answered.message == INTERNAL
    _LOG.log(
        logging.ERROR if defect else logging.WARNING,
        "request failed",
        exc_info=error if defect else None,
        extra=about,
    )


def _repeat_id(exchange: Exchange, headers: Headers) -> None:
    """Answer with the client's own name for its request, if it is one."""
    given = exchange.headers[b"x-request-id"]
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
