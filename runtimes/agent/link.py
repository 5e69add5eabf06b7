"""The client's side of the link: requests that are sent again until the device has answered.

Every request can be sent twice without being done twice, so a link that breaks is made again and
the request goes on where it was. What the device answers is as little trusted as what it is sent.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from runtimes.agent.addresses import PROTOCOL_HEADER, Address
from runtimes.agent.errors_sent import error_of
from runtimes.agent.messages import DeviceInfo, Told
from runtimes.agent.protocol import VERSION, json_of
from runtimes.agent.typed_json import Malformed, read
from runtimes.errors import KilnxError, RuntimeUnavailable
from runtimes.network.connecting import connected
from runtimes.network.tls import client_tls
from runtimes.version import own_version

# The agent says something every five seconds; one that is silent for longer is not there.
_SILENCE_SECONDS = 20.0
_CONNECT_SECONDS = 5.0
_LEAST_BYTES_PER_SECOND = 64 * 2**10
_MOST_ANSWER = 512 * 2**20
_LONGEST_WAIT = 2.0
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass
class Link:
    """A connection to an agent, made again when it breaks.

    Attributes:
        address: Where it is.
        token: What it wants to know.
        ca: Certificates that are trusted; None trusts those of the system.
        patience: Seconds for which a device may be away before it is given up.
    """

    address: Address
    token: str = field(repr=False)
    ca: str | os.PathLike[str] | None = None
    patience: float = 20.0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def info(self) -> DeviceInfo:
        """What the agent says of itself; raises ``RuntimeUnavailable`` where none answers."""
        return self._read_info(self.request("GET", "/v1/info")[1])

    def request(
        self,
        method: str,
        path: str,
        body: bytes | memoryview = b"",
        *,
        patience: float | None = None,
    ) -> tuple[HTTPStatus, bytes]:
        """The status and the body of the answer: 200, 202, 409 or 410.

        Raises the error that the device tells, and ``RuntimeUnavailable`` where none answers
        within ``patience`` seconds.
        """
        patience = self.patience if patience is None else patience
        wait, last, failing_since = 0.05, "it does not answer", 0.0
        with self._lock:
            while True:
                try:
                    status, found, after = self._once(method, path, body)
                    if status not in _BUSY:
                        return self._judged(status, found)
                    last, wait = self._reason(found), max(wait, after)
                except (OSError, http.client.HTTPException) as error:
                    self.close()
                    self._refuse_certificate(error)
                    last = _plain(error)
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since + wait > patience:
                    raise RuntimeUnavailable(self._unreachable(last))
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    @contextmanager
    def understanding(self) -> Iterator[None]:
        """Raise ``RuntimeUnavailable`` for what the device says and the protocol does not."""
        try:
            yield
        except Malformed as error:
            raise RuntimeUnavailable(
                f"the agent on {self.address} is not understood: {error}"
            ) from error

    def close(self) -> None:
        """Close the connection; the next request makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _once(
        self, method: str, path: str, body: bytes | memoryview
    ) -> tuple[HTTPStatus, bytes, float]:
        if self._connection is None:
            self._connection = self._connect()
        seconds = _SILENCE_SECONDS + len(body) / _LEAST_BYTES_PER_SECOND
        self._connection.sock.settimeout(seconds)
        headers = {"Authorization": f"Bearer {self.token}", PROTOCOL_HEADER: str(VERSION)}
        self._connection.request(method, path, body or None, headers)
        with self._connection.getresponse() as answer:
            length = answer.length
            if length is None or length > _MOST_ANSWER:
                raise http.client.HTTPException("an answer without a size, or too large")
            found = answer.read()
            status = _status(answer.status)
            wait = answer.getheader("Retry-After", "0")
            if answer.will_close:
                self.close()
        return status, found, min(float(wait) if wait.isdigit() else 0.0, _LONGEST_WAIT)

    def _connect(self) -> http.client.HTTPConnection:
        tls = client_tls(self.ca) if self.address.tls else None
        return connected(self.address.host, self.address.port, tls, _CONNECT_SECONDS)

    def _judged(self, status: HTTPStatus, body: bytes) -> tuple[HTTPStatus, bytes]:
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT, HTTPStatus.GONE):
            return status, body
        if status is HTTPStatus.UNAUTHORIZED:
            raise RuntimeUnavailable(
                f"the device {self.address} does not accept the token; `kilnx agent` shows it when "
                "it starts, and --device-token or KILNX_DEVICE_TOKEN gives it"
            )
        if status is HTTPStatus.UPGRADE_REQUIRED:
            self._read_info(body)
        raise self._told(body) or RuntimeUnavailable(
            f"the device {self.address} answers {status.value} {status.phrase}; is a kilnx agent "
            "listening there?"
        )

    def _told(self, body: bytes) -> KilnxError | None:
        try:
            document = read(dict[str, Told], json_of(body), "the error")
        except Malformed:
            return None
        return error_of(document["error"], str(self.address)) if "error" in document else None

    def _reason(self, body: bytes) -> str:
        told = self._told(body)
        return "it is busy" if told is None else str(told).partition(": ")[2]

    def _read_info(self, body: bytes) -> DeviceInfo:
        try:
            document: Any = json_of(body)
            protocol = document["protocol"]
        except (Malformed, KeyError, TypeError) as error:
            raise RuntimeUnavailable(
                f"what listens on {self.address} is no agent of kilnx"
            ) from error
        if protocol != VERSION:
            theirs = "".join(c for c in str(document.get("kilnx"))[:40] if c.isprintable())
            raise RuntimeUnavailable(
                f"the agent on {self.address} is kilnx {theirs}, and speaks protocol "
                f"{str(protocol)[:10]}; this is kilnx {own_version()} with protocol {VERSION}: "
                "install the same version on both"
            )
        with self.understanding():
            return read(DeviceInfo, document, "what the agent says of itself")

    def _refuse_certificate(self, error: Exception) -> None:
        """Raise for a certificate that is not trusted: trying again changes nothing."""
        if isinstance(error, ssl.SSLCertVerificationError):
            raise RuntimeUnavailable(
                f"the certificate of {self.address} is not trusted ({error.verify_message}); name "
                "the one that signed it with --device-ca"
            ) from error

    def _unreachable(self, reason: str) -> str:
        secure = "" if self.address.tls else " without TLS"
        return (
            f"the device {self.address} is not reached{secure}: {reason}; is `kilnx agent` running "
            "there, and is the port open? (http://host:port speaks to one without a certificate)"
        )


def _status(number: int) -> HTTPStatus:
    try:
        return HTTPStatus(number)
    except ValueError as error:
        raise http.client.HTTPException(f"the status {number}") from error


def _plain(error: Exception) -> str:
    text = "".join(one if one.isprintable() else " " for one in str(error))[:200]
    return text or type(error).__name__
