"""Who may call what: bearer tokens in gRPC's metadata."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from runtimes.serving.protocol.errors import ProtocolError


@dataclass(frozen=True)
class Access:
    """What callers have to know.

    Attributes:
        token: For everything but health; None lets everybody ask.
        control_token: To load and unload models; None stands for ``token``, and without either
            nobody may.
    """

    token: str | None = None
    control_token: str | None = None

    def check(self, context: Any) -> None:
        """Raise ``ProtocolError`` unless the caller may ask for answers."""
        if self.token is not None:
            given = _given(context)
            if not (_same(given, self.token) or _same(given, self.control_token)):
                raise _refused()

    def check_control(self, context: Any) -> None:
        """Raise ``ProtocolError`` unless the caller may change what is served."""
        needed = self.control_token or self.token
        if needed is None:
            raise ProtocolError(
                403, "this server has no token, so nobody may load or unload its models"
            )
        if not _same(_given(context), needed):
            raise _refused()


def _given(context: Any) -> bytes:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value if isinstance(value, bytes) else value.encode()
            scheme, _, token = text.partition(b" ")
            return token if scheme.lower() == b"bearer" else b""
    return b""


def _same(given: bytes, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(given, token.encode())


def _refused() -> ProtocolError:
    return ProtocolError(401, "this needs a token: the metadata authorization: Bearer TOKEN")
