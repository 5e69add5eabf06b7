"""The statuses of HTTP, as gRPC has them."""

from __future__ import annotations

import logging

import grpc

from runtimes.serving.protocol.errors import ProtocolError

_LOG = logging.getLogger("kilnx.serving")
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    406: grpc.StatusCode.INVALID_ARGUMENT,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def code_of(error: ProtocolError) -> grpc.StatusCode:
    """GRPC's status for an error."""
    other = grpc.StatusCode.INVALID_ARGUMENT if error.status < 500 else grpc.StatusCode.INTERNAL
    return _CODES.get(error.status, other)


def trailer_of(error: ProtocolError) -> tuple[tuple[str, str], ...]:
    """When clients may try again, as they read it themselves.

    https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
    """
    if not error.seconds:
        return ()
    return (("grpc-retry-pushback-ms", str(round(error.seconds * 1000))),)


def as_internal(error: Exception) -> ProtocolError:
    """What a client is told of an error that nobody foresaw: nothing; the log has it."""
    if isinstance(error, ProtocolError):
        return error
    log_defect(error)
    return ProtocolError(500, "the server failed; its log says why")


def log_defect(error: Exception) -> None:
    """Tell the log what callers are not told."""
    _LOG.error("a gRPC request failed", exc_info=error)
