"""uvicorn under this server's rules: its own limits of connections, and its own way to stop."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import uvicorn

from runtimes.errors import DataError
from runtimes.network.tls import server_tls
from runtimes.serving.app import App
from runtimes.serving.direct_connection import connection_class
from runtimes.serving.options import ServeOptions
from runtimes.serving.server import Server

_BACKLOG = 2048
_QUIET_SECONDS = 0.25
_TICK_SECONDS = 0.02
_OTHER_FILES = 256


def allow_connections(count: int) -> None:
    """Let this process open files enough for ``count`` connections, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound before any model is loaded, so that a taken port costs no wait."""
    with ExitStack() as held:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            listener = held.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot listen on {host}:{port}: {reason}") from error
        yield listener


class HttpFace:
    """uvicorn, without its own handling of signals and of the end."""

    def __init__(self, options: ServeOptions, server: Server) -> None:
        self._options = options
        application = App(server)
        config = uvicorn.Config(
            application,
            interface="asgi3",
            http=connection_class(options.limits, application),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(options.limits.idle_seconds),
            backlog=_BACKLOG,
        )
        config.load()
        if options.cert is not None:
            config.ssl = server_tls(options.cert, options.key)
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.lifespan = config.lifespan_class(config)
        server.connections = lambda: len(self._uvicorn.server_state.connections)
        self.address = ""

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        await self._uvicorn.startup(sockets=[listener])
        host, port = listener.getsockname()[:2]
        scheme = "http" if self._options.cert is None else "https"
        self.address = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    async def stop(self) -> None:
        """Accept what waits in the backlog, then nothing more; finish all requests."""
        for _ in range(3):
            await asyncio.sleep(0)
        for server in self._uvicorn.servers:
            server.close()
        # A request may be on its way on a connection that is quiet: its answer closes that.
        quiet = 0.0
        while self.connections and quiet < _QUIET_SECONDS:
            before = self._uvicorn.server_state.total_requests
            await asyncio.sleep(_TICK_SECONDS)
            busy = any(not one.is_idle for one in self.connections)
            same = self._uvicorn.server_state.total_requests == before
            quiet = quiet + _TICK_SECONDS if same and not busy else 0.0
        for connection in self.connections:
            connection.shutdown()
        while self._uvicorn.server_state.tasks or self.connections:
            await asyncio.sleep(_TICK_SECONDS)
        self._ticking.cancel()

    async def cancel(self) -> None:
        """Cancel the requests that are left, and cut off their connections."""
        self._ticking.cancel()
        for server in self._uvicorn.servers:
            server.close()
        for task in list(self._uvicorn.server_state.tasks):
            task.cancel()
        await asyncio.sleep(_TICK_SECONDS)
        for connection in self.connections:
            connection.transport.abort()

    @property
    def connections(self) -> list[Any]:
        """The connections that are open."""
        return list(self._uvicorn.server_state.connections)

    async def _tick(self) -> None:
        """What uvicorn does every second: a new Date for its answers."""
        while True:
            await self._uvicorn.on_tick(0)
            await asyncio.sleep(1)
