"""Listen for gRPC, in the event loop of the caller.

``grpc.aio`` and not threads: a request that has to hop from a thread to the loop that owns the
models and back costs more than ``grpc.aio`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.errors import DataError, RuntimeUnavailable, first_line
from runtimes.extras import missing_extra
from runtimes.serving.protocol.backend import Backend
from runtimes.serving.protocol.limits import ProtocolLimits

# What a message may have besides tensors.
_HEAD_BYTES = 2**20
_METADATA_BYTES = 16 * 2**10
_UNCOMPRESSED = 1
_CONCURRENT_STREAMS = 1024


@dataclass(frozen=True)
class TlsFiles:
    """The files of a certificate (PEM); ``key`` None where the key is in the same file."""

    cert: Path
    key: Path | None = None


class GrpcServer:
    """A server that listens.

    Attributes:
        port: Where.
    """

    def __init__(self, server: Any, port: int) -> None:
        self._server, self.port = server, port

    async def stop(self, grace: float) -> None:
        """Accept no more calls, finish those that run, and cancel them after ``grace`` seconds."""
        await self._server.stop(grace)


async def serve_grpc(
    backend: Backend,
    address: str,
    *,
    tls: TlsFiles | None = None,
    token: str | None = None,
    control_token: str | None = None,
    limits: ProtocolLimits | None = None,
    as_error: Any = None,
) -> GrpcServer:
    """Serve ``GRPCInferenceService`` and gRPC's own health check.

    Args:
        backend: What answers; it is called in this event loop.
        address: ``host:port`` (port 0 takes a free one), or ``unix:PATH``.
        tls: The certificate; without one there is no encryption.
        token: What callers have to know for everything but health; None lets everybody ask.
        control_token: What they have to know to load and unload models; None: ``token``.
        limits: How large a request may be.
        as_error: Turns an exception into a ``ProtocolError``; by default anything but such an
            error is a defect, of which callers are told nothing.

    Raises:
        RuntimeUnavailable: grpcio or protobuf is not installed.
        DataError: It cannot listen there, or the certificate cannot be read.
    """
    try:
        import grpc.aio

        from runtimes.serving.grpc.access import Access
        from runtimes.serving.grpc.calls import Calls
        from runtimes.serving.grpc.handlers import handlers
        from runtimes.serving.grpc.status import as_internal
    except ImportError as error:
        raise RuntimeUnavailable(missing_extra("gRPC", "grpc", str(error))) from error
    limits = limits or ProtocolLimits()
    access = Access(token, control_token)
    calls = Calls(backend, limits, access, as_error or as_internal)
    server = grpc.aio.server(options=_options(limits))
    server.add_generic_rpc_handlers(handlers(calls, backend))
    port = _listen(server, address, tls)
    await server.start()
    return GrpcServer(server, port)


def _options(limits: ProtocolLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.body_bytes + _HEAD_BYTES),
        ("grpc.max_send_message_length", -1),
        # A compressed message could become a thousand times as large before anything looks at it.
        ("grpc.compression_enabled_algorithms_bitset", _UNCOMPRESSED),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.max_concurrent_streams", _CONCURRENT_STREAMS),
        ("grpc.so_reuseport", 0),  # two servers on one port are a mistake
    ]


def _listen(server: Any, address: str, tls: TlsFiles | None) -> int:
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, _credentials(tls))
    except RuntimeError as error:
        raise DataError(f"gRPC cannot listen on {address}: {first_line(error)}") from error
    return int(port)


def _credentials(tls: TlsFiles) -> Any:
    import grpc

    try:
        chain = tls.cert.read_bytes()
        key = chain if tls.key is None else tls.key.read_bytes()
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    return grpc.ssl_server_credentials([(key, chain)])
