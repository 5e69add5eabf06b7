"""Where agents listen, and how that is written."""

from __future__ import annotations

from dataclasses import dataclass

from runtimes.errors import DataError
from runtimes.network.tls import is_loopback

DEFAULT_PORT = 8714
PROTOCOL_HEADER = "X-Kilnx-Protocol"


@dataclass(frozen=True)
class Address:
    """Where an agent listens, and whether it speaks TLS."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(
        cls, text: str, *, ca: object = None, port: int = DEFAULT_PORT, what: str = "device"
    ) -> Address:
        """``host:port``, or with ``http://`` or ``https://`` before it; raises ``DataError``.

        Without either, TLS is spoken to every machine but this one, or where ``ca`` is given.
        ``port``: the one that need not be said. ``what``: how errors call what listens there.
        """
        scheme, _, rest = text.rpartition("://")
        host, number = _split(rest, text, port, what)
        if scheme not in ("", "http", "https"):
            raise DataError(f"the {what} {text!r} is not host:port, http:// or https://")
        secure = scheme == "https" or (not scheme and (bool(ca) or not is_loopback(host)))
        return cls(host, number, secure)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _split(text: str, whole: str, default: int, what: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default)
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare and bare == host:
        raise DataError(f"the {what} {whole!r} is an IPv6 address without brackets, as in [::1]")
    host = bare
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise DataError(f"the {what} {whole!r} is not host:port, such as pi.local:{default}")
    if any(one in host for one in "/@?# \r\n"):
        raise DataError(f"the {what} {whole!r} has a host that is none")
    return host, int(port)
