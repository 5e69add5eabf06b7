"""The server's gRPC face."""

from __future__ import annotations

from runtimes.serving.errors import INTERNAL, as_protocol_error
from runtimes.serving.grpc.serve import GrpcServer, TlsFiles, serve_grpc
from runtimes.serving.grpc.status import log_defect
from runtimes.serving.options import ServeOptions
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.server import Server

# Who calls ``stop`` has a clock of its own, and then calls ``cancel``.
_AS_LONG_AS_IT_TAKES = 86400.0


class GrpcFace:
    """Listens for gRPC, and passes on what it is asked.

    Attributes:
        address: ``host:port``.
    """

    def __init__(self, server: GrpcServer, address: str) -> None:
        self._server, self.address = server, address

    @classmethod
    async def start(cls, options: ServeOptions, server: Server) -> GrpcFace:
        """Listen on the port that the options name."""
        host = f"[{options.host}]" if ":" in options.host else options.host
        limits = options.limits
        started = await serve_grpc(
            server,
            f"{host}:{options.grpc_port}",
            tls=None if options.cert is None else TlsFiles(options.cert, options.key),
            token=options.token,
            control_token=options.control_token,
            limits=ProtocolLimits(body_bytes=limits.body_bytes, tensors=limits.tensors),
            as_error=_as_error,
        )
        return cls(started, f"{host}:{started.port}")

    async def stop(self) -> None:
        """Accept nothing more, and finish what was accepted."""
        await self._server.stop(_AS_LONG_AS_IT_TAKES)

    async def cancel(self) -> None:
        """Give up what is left."""
        await self._server.stop(0)


def _as_error(error: Exception) -> ProtocolError:
    known = as_protocol_error(error)
    if known.message == INTERNAL:
        log_defect(error)
    return known
