"""Who may connect how: loopback, TLS, or a network that the user trusts."""

from __future__ import annotations

import os
import ssl
from ipaddress import ip_address
from pathlib import Path

from runtimes.errors import DataError


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_unsafe(
    host: str, cert: Path | None, key: Path | None, *, plain: bool, seen: str
) -> None:
    """Raise ``DataError`` where other machines would connect without TLS, unless that is said.

    ``seen``: what they could read, such as ``"the token and the models"``.
    """
    if cert is None and not plain and not is_loopback(host):
        raise DataError(
            f"on {host} other machines can read {seen}; give a certificate (--cert and --key), or "
            "say --plain for a network that you trust"
        )
    if key is not None and cert is None:
        raise DataError("--key is the key of a certificate, which --cert names")


def server_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The TLS of a server with this certificate; None without one. Raises ``DataError``."""
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise DataError(f"the certificate {cert} or its key cannot be used: {error}") from error
    return context


def client_tls(ca: str | os.PathLike[str] | None) -> ssl.SSLContext:
    """The TLS of a client: whom it trusts, of the system or in the file ``ca``.

    Raises ``DataError`` for a file without certificates.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else os.fspath(ca))
    except (OSError, ValueError) as error:
        raise DataError(f"{ca} is no file of certificates (PEM): {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
