"""One connection to the agent: HTTP/1.1 of the standard library, with every wait and size bounded.

The token is looked at as soon as the head of a request is there, which has little time and little
room. Whoever does not know it gets 401 and a closed connection; of what such a client sends no
body is read. Bodies need a Content-Length and come at a least speed, so that nobody holds a
connection by sending a byte now and then.
"""

from __future__ import annotations

import io
import json
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol, cast

from runtimes.agent.addresses import PROTOCOL_HEADER
from runtimes.agent.limits import Counter, Limits
from runtimes.agent.protocol import VERSION
from runtimes.network.rate_limiter import RateLimiter
from runtimes.network.tokens import is_token

# Bodies that come slower than this are cut off, after some seconds of grace.
_LEAST_BYTES_PER_SECOND = 32 * 2**10
_GRACE_SECONDS = 20.0
_LONGEST_LENGTH = 12  # digits


class HttpError(Exception):
    """An answer that is not what was asked for; the connection is closed where it must be."""

    def __init__(
        self, status: HTTPStatus, body: Mapping[str, Any], *, close: bool = False, wait: int = 0
    ) -> None:
        super().__init__(status.phrase)
        self.status, self.body, self.close, self.wait = status, body, close, wait


def refusal(status: HTTPStatus, message: str, kind: str = "DataError", **how: Any) -> HttpError:
    """An answer that says why not."""
    return HttpError(status, {"error": {"kind": kind, "message": message}}, **how)


class Answering(Protocol):
    """What answers the requests that were let in."""

    def answer(self, request: Any) -> tuple[HTTPStatus, bytes]:
        """The answer to the request of an ``AgentHandler``; raises ``HttpError``."""
        ...


class Serving(Protocol):
    """What a connection has to know of its server."""

    limits: Limits
    token: str
    tls: ssl.SSLContext | None
    rate: RateLimiter
    failures: RateLimiter
    flight: Counter
    routes: Answering

    def about(self) -> dict[str, Any]:
        """What the agent says of itself."""
        ...


class _Incoming(io.RawIOBase):
    """What a socket receives, until a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class AgentHandler(BaseHTTPRequestHandler):
    """Requests of one connection, handed to the routes of ``server`` once they are allowed."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a line that says none: 0.9 has no status
    disable_nagle_algorithm = True

    @property
    def agent(self) -> Serving:
        """The server, as a connection sees it."""
        return cast(Serving, self.server)

    def setup(self) -> None:
        """Agree on TLS, if the agent has a certificate, and give every wait an end."""
        self._known = False
        self._left = 0  # of the body
        if self.agent.tls is not None:
            self.request = _with_tls(self.request, self.agent.tls, self.agent.limits.head_seconds)
        super().setup()
        self._incoming = _Incoming(self.connection)
        self.rfile = io.BufferedReader(self._incoming)

    def finish(self) -> None:
        """Close what was opened here."""
        try:
            super().finish()
        finally:
            self.connection.close()

    def handle_one_request(self) -> None:
        """Wait for a request: longer from a client that is known than from any other."""
        limits = self.agent.limits
        self._wait(limits.idle_seconds if self._known else limits.head_seconds)
        try:
            super().handle_one_request()
        except (OSError, ValueError):  # the client went away, or was too slow
            self.close_connection = True

    def parse_request(self) -> bool:
        """Read the head, for which there is little time, and let in who knows the token."""
        self._wait(self.agent.limits.head_seconds)
        if not super().parse_request():
            return False
        try:
            self._let_in()
            self._left = self._length()
        except HttpError as error:
            self._answer_error(error)
            return False
        self._known = True
        return True

    def handle_expect_100(self) -> bool:
        """Nobody is asked to go on before the token was looked at."""
        self.send_error(HTTPStatus.EXPECTATION_FAILED)
        return False

    def do_GET(self) -> None:
        """Answer through the routes of the server."""
        self._answer()

    do_PUT = do_POST = do_DELETE = do_GET

    def read_body(self, most: int | None = None) -> bytes:
        """The body, or ``most`` bytes of what is left of it."""
        size = self._left if most is None else min(self._left, most)
        found = self.rfile.read(size)
        if len(found) < size:
            raise ConnectionError("the body was cut off")
        self._left -= size
        return found

    @property
    def body_size(self) -> int:
        """Bytes of the body that are left to be read."""
        return self._left

    @property
    def client(self) -> str:
        """The address of the client, without its port."""
        return str(self.client_address[0])

    def version_string(self) -> str:
        """The name of the server, which tells nobody what it is made of."""
        return "kilnx"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer an error of the protocol, without repeating what was sent."""
        status = HTTPStatus(code)
        self._answer_error(refusal(status, status.phrase, close=True))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written for each request."""

    def _answer(self) -> None:
        try:
            with self._flight():
                self._wait(_GRACE_SECONDS + self._left / _LEAST_BYTES_PER_SECOND)
                status, body = self.agent.routes.answer(self)
        except HttpError as error:
            self._answer_error(error)
            return
        if self._left:  # nobody read it
            self.close_connection = True
        self._send(status, body)

    @contextmanager
    def _flight(self) -> Iterator[None]:
        """Room for the body among all that are on their way."""
        size = self._left
        if not self.agent.flight.take(size):
            raise refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the agent is busy", close=True, wait=1)
        try:
            yield
        finally:
            self.agent.flight.give_back(size)

    def _let_in(self) -> None:
        """Raise unless the client knows the token, speaks this protocol and does not hurry."""
        if not is_token(self.headers.get("Authorization", ""), self.agent.token):
            if not self.agent.failures.allows(self.client):
                raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, {}, close=True, wait=5)
            raise HttpError(HTTPStatus.UNAUTHORIZED, {}, close=True)
        if not self.agent.rate.allows(self.client):
            raise refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", close=True, wait=1)
        if self.headers.get(PROTOCOL_HEADER) != str(VERSION):
            raise HttpError(HTTPStatus.UPGRADE_REQUIRED, self.agent.about(), close=True)

    def _length(self) -> int:
        """The size of the body; raises for what has none that is said, or is too large."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) > 1:
            raise refusal(HTTPStatus.LENGTH_REQUIRED, "a body has one Content-Length", close=True)
        text = lengths[0].strip() if lengths else "0"
        if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_LENGTH):
            raise refusal(HTTPStatus.BAD_REQUEST, "the Content-Length is no number", close=True)
        if int(text) > self.agent.limits.body_bytes:
            raise refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a request of {text} bytes; this agent takes {self.agent.limits.body_bytes} at "
                "most (--max-body), so run smaller batches",
                close=True,
            )
        return int(text)

    def _answer_error(self, error: HttpError) -> None:
        if error.close or self._left:
            self.close_connection = True
        headers = {"Retry-After": str(error.wait)} if error.wait else {}
        if error.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        self._send(error.status, json.dumps(error.body).encode(), headers)

    def _send(
        self, status: HTTPStatus, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self.connection.settimeout(_GRACE_SECONDS + len(body) / _LEAST_BYTES_PER_SECOND)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _wait(self, seconds: float) -> None:
        self._incoming.deadline = time.monotonic() + seconds


def _with_tls(connection: socket.socket, tls: ssl.SSLContext, seconds: float) -> ssl.SSLSocket:
    """The connection with TLS, which has to be agreed on within some seconds."""
    wrapped = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    deadline = time.monotonic() + seconds
    wrapped.setblocking(False)
    try:
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                wrapped.do_handshake()
                return wrapped
            except ssl.SSLWantReadError:
                ready, *_ = select.select([wrapped], [], [], left)
            except ssl.SSLWantWriteError:
                _, ready, _ = select.select([], [wrapped], [], left)
            if not ready:
                raise TimeoutError("no TLS in time")
    except BaseException:
        wrapped.close()
        raise
