"""Who may ask for what."""

from __future__ import annotations

from urllib.parse import urlsplit

from runtimes.network.rate_limiter import RateLimiter
from runtimes.network.tls import is_loopback
from runtimes.network.tokens import is_token
from runtimes.serving.errors import Overloaded
from runtimes.serving.exchange import Asked
from runtimes.serving.protocol.errors import ProtocolError

# Whoever does not know the token may try so often a second, and so many times at once.
_FAILURES_PER_SECOND, _FAILURES_AT_ONCE = 2.0, 20.0


class Access:
    """Tokens, and what browsers of other sites may do, which is nothing.

    ``token`` lets a client ask for everything, and ``control_token`` change what is served; where
    only the first is given it does both, and without either nobody changes anything.
    """

    def __init__(self, host: str, token: str | None, control_token: str | None) -> None:
        self._loopback = is_loopback(host)
        self._token = token
        self._control = control_token or token
        self._failures = RateLimiter(_FAILURES_PER_SECOND, _FAILURES_AT_ONCE)

    def check(self, asked: Asked) -> None:
        """Raise ``ProtocolError`` unless the client may ask for answers."""
        if b"origin" in asked.headers:
            self._refuse_other_sites(asked)
        if self._token is not None:
            header = asked.text(b"authorization")
            if not is_token(header, self._token) and not self._knows_control(header):
                raise self._refused(asked)

    def check_control(self, asked: Asked) -> None:
        """Raise ``ProtocolError`` unless the client may change what is served."""
        if b"origin" in asked.headers:
            self._refuse_other_sites(asked)
        if self._control is None:
            raise ProtocolError(
                403,
                "models are loaded and unloaded only by those who know a token, and this "
                "server was started without one (--token or --control-token)",
            )
        if not self._knows_control(asked.text(b"authorization")):
            raise self._refused(asked)

    def _knows_control(self, header: str) -> bool:
        return self._control is not None and is_token(header, self._control)

    def _refused(self, asked: Asked) -> ProtocolError:
        if not self._failures.allows(asked.address):
            return Overloaded("too many wrong tokens", 5.0)
        return ProtocolError(401, "this needs a token: the header Authorization: Bearer TOKEN")

    def _refuse_other_sites(self, asked: Asked) -> None:
        """A page of another site must not use the browser of somebody who can reach this server.

        Its name may even resolve to this machine, so on loopback the name has to be one of its.
        """
        origin, host = urlsplit(asked.text(b"origin")), asked.text(b"host")
        name = urlsplit(f"//{host}").hostname or ""
        if origin.netloc != host or (self._loopback and not is_loopback(name)):
            raise ProtocolError(403, "pages of other sites may not ask this server")
