"""Connections of clients that go on for many requests."""

from __future__ import annotations

import http.client
import socket
import ssl


def connected(
    host: str, port: int, tls: ssl.SSLContext | None, seconds: float
) -> http.client.HTTPConnection:
    """A connection that is there within so many seconds, and sends what it is given at once."""
    if tls is None:
        made = http.client.HTTPConnection(host, port, timeout=seconds)
    else:
        made = http.client.HTTPSConnection(host, port, timeout=seconds, context=tls)
    made.connect()
    made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
