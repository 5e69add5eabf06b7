"""What is wrong with a request, with the status that HTTP answers."""

from __future__ import annotations

from runtimes.errors import KilnxError


class ProtocolError(KilnxError):
    """A request that cannot be answered.

    Attributes:
        status: The HTTP status; gRPC's is derived from it.
        message: What is wrong, where, and how to fix it; the body is ``{"error": message}``.
        seconds: After how long it makes sense to try again; 0 where it makes none.
    """

    seconds: float = 0.0

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
