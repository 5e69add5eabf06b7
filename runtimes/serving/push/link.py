"""A connection over which every request may be sent again: it is made anew when it breaks."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from runtimes.agent.addresses import Address
from runtimes.errors import RuntimeUnavailable
from runtimes.network.connecting import connected
from runtimes.network.tls import client_tls
from runtimes.serving.options import DEFAULT_PORT

_CONNECT_SECONDS = 10.0
# A server says nothing while it proves a bundle; then the question is asked anew.
_SILENCE_SECONDS = 300.0
_LONGEST_WAIT = 2.0
_MOST_ANSWER = 1 << 24
_LATER = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


@dataclass
class PushLink:
    """A connection to a server.

    Attributes:
        address: Where it is.
        headers: What every request says.
        tls: Whom it trusts; None without TLS.
        patience: Seconds for which the server may be away.
        sent_bytes: Bodies that were sent, those that were sent again among them.
    """

    address: Address
    headers: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext | None
    patience: float
    sent_bytes: int = 0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    @classmethod
    def to(
        cls,
        url: str,
        *,
        token: str | None,
        ca: str | os.PathLike[str] | None,
        patience: float,
    ) -> PushLink:
        """A link that is not connected yet; raises ``DataError`` for an address that is none."""
        address = Address.of(url.rstrip("/"), ca=ca, port=DEFAULT_PORT, what="server")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return cls(address, headers, client_tls(ca) if address.tls else None, patience)

    @property
    def url(self) -> str:
        """The address as one writes it."""
        return f"{'https' if self.address.tls else 'http'}://{self.address}"

    def request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Status and body of the answer; raises ``RuntimeUnavailable`` where none comes."""
        wait, failing_since = 0.1, 0.0
        while True:
            try:
                status, found = self._once(method, path, body, {**self.headers, **headers})
                if status not in _LATER:
                    return status, found
                last = f"it answers {status}"
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise RuntimeUnavailable(
                        f"the certificate of {self.url} is not trusted ({error.verify_message}); "
                        "name the one that signed it with --ca"
                    ) from error
                last = str(error)[:200] or type(error).__name__
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since + wait > self.patience:
                raise RuntimeUnavailable(
                    f"{self.url} is not reached: {last}; is kilnx serve running there? What it "
                    "has taken stays there: the push goes on when it is tried again"
                )
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def close(self) -> None:
        """Close the connection; the next request makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _once(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        self.sent_bytes += len(body)
        self._connection.request(method, path, body, dict(headers))
        with self._connection.getresponse() as answer:
            if answer.length is None or answer.length > _MOST_ANSWER:
                raise http.client.HTTPException("an answer without a size, or too large")
            found = answer.read()
            if answer.will_close:
                self.close()
        return answer.status, found

    def _connect(self) -> http.client.HTTPConnection:
        made = connected(self.address.host, self.address.port, self.tls, _CONNECT_SECONDS)
        made.sock.settimeout(_SILENCE_SECONDS)
        return made
