"""Run the server: listen, serve, reload on SIGHUP, and stop in order on SIGTERM.

Stopping: the listening sockets close after what waits there was accepted; requests that are
running or waiting are finished, every answer closes its connection, and quiet connections are
closed; after ``drain`` seconds the rest is cancelled.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra
from runtimes.network.tls import refuse_unsafe, server_tls
from runtimes.network.tokens import refuse_short_token
from runtimes.serving.options import ServeOptions
from runtimes.serving.request_log import log_to
from runtimes.signals import exit_code

if TYPE_CHECKING:
    from runtimes.serving.server import Server

_LOG = logging.getLogger("kilnx.serving")


@dataclass(frozen=True)
class Addresses:
    """Where a server listens.

    Attributes:
        url: The address for HTTP.
        grpc: ``host:port`` for gRPC, or None.
    """

    url: str
    grpc: str | None


class Face(Protocol):
    """Something that listens, and passes on what it is asked."""

    address: str

    async def stop(self) -> None:
        """Accept nothing more, and finish what was accepted."""

    async def cancel(self) -> None:
        """Give up what is left."""


def serve(options: ServeOptions, started: Callable[[Addresses], None]) -> int:
    """Serve until a signal says to stop; the process' exit code.

    Raises ``DataError``, ``ModelError`` and ``RuntimeUnavailable`` for what keeps it from starting.
    """
    check_options(options)
    from runtimes.serving.http_face import allow_connections

    stop = asyncio.Event()
    received: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def stopped_by(number: int) -> None:
            received.append(number)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped_by, number)
        await _serve(options, stop, begin)

    def begin(where: Addresses) -> None:
        # What lives now lives on: the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        started(where)

    log_to(None, options.log_format)
    allow_connections(options.limits.connections)
    _run(main())
    return 0 if received[:1] == [signal.SIGTERM] else exit_code(received)


@contextmanager
def running(options: ServeOptions) -> Iterator[Addresses]:
    """Serve in a thread as long as the block runs; yields where. For notebooks and tests."""
    check_options(options)
    ready: Future[tuple[Addresses, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        await _serve(options, stop, lambda where: ready.set_result((where, loop, stop)))

    def run() -> None:
        try:
            _run(main())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="kilnx-serve", daemon=True)
    thread.start()
    where, loop, stop = ready.result()
    try:
        yield where
    finally:
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join()


def check_options(options: ServeOptions) -> None:
    """Raise for options that cannot be served, before any work is done."""
    try:
        import httptools
        import msgspec
        import prometheus_client
        import uvicorn
    except ImportError as error:
        raise RuntimeUnavailable(missing_extra("The server", "serve", str(error))) from error
    del httptools, msgspec, prometheus_client, uvicorn
    refuse_unsafe(
        options.host,
        options.cert,
        options.key,
        plain=options.plain,
        seen="the requests and the answers",
    )
    refuse_short_token(options.token, "then everybody who can connect may ask")
    refuse_short_token(options.control_token, "then nobody loads or unloads models")
    server_tls(options.cert, options.key)


async def _serve(
    options: ServeOptions, stop: asyncio.Event, started: Callable[[Addresses], None]
) -> None:
    from runtimes.serving.host import LoopHost
    from runtimes.serving.http_face import HttpFace, listening
    from runtimes.serving.server import Server

    loop = asyncio.get_running_loop()
    host = LoopHost(loop)
    try:
        with listening(options.host, options.port) as listener:
            server = Server(options, host)
            http = HttpFace(options, server)
            await http.start(listener)
            faces: list[Face] = [http]
            background = [loop.create_task(_tell_when_ready(options, server, faces, started))]
            if options.watch:
                background.append(loop.create_task(_watch(server, options.watch)))
            if threading.current_thread() is threading.main_thread():
                loop.add_signal_handler(signal.SIGHUP, server.reload)
            try:
                await _stopped_or_failed(stop, background[0])
                server.draining = True
                _LOG.info("stopping")
            except BaseException:
                await _give_up(server, faces)
                raise
            finally:
                for task in background:
                    task.cancel()
            await _drain(server, faces, options.drain)
    finally:
        host.close()


async def _tell_when_ready(
    options: ServeOptions,
    server: Server,
    faces: list[Face],
    started: Callable[[Addresses], None],
) -> None:
    """Load the models; who asks before they are loaded is told so."""
    await server.start()
    if options.grpc_port is not None:
        from runtimes.serving.grpc_face import GrpcFace

        faces.append(await GrpcFace.start(options, server))
    started(Addresses(faces[0].address, faces[1].address if faces[1:] else None))


async def _stopped_or_failed(stop: asyncio.Event, starting: asyncio.Task[None]) -> None:
    """Wait until somebody stops the server; raises what kept it from starting."""
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
        except BaseException:
            stopping.cancel()
            raise
    await stopping


async def _drain(server: Server, faces: list[Face], seconds: float) -> None:
    """Finish what was accepted; after ``seconds`` cancel what is left."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(face.stop() for face in faces))
    except TimeoutError:
        _LOG.warning("not all requests were finished in time", extra={"seconds": seconds})
        await _give_up(server, faces)
        return
    await server.close()


async def _give_up(server: Server, faces: list[Face]) -> None:
    server.models.cancel_waiting()
    await asyncio.gather(*(face.cancel() for face in faces))
    await server.close()


async def _watch(server: Server, seconds: float) -> None:
    """Look for changed files; they are loaded once they no longer change from look to look."""
    while True:
        await asyncio.sleep(seconds)
        await server.models.reload_settled()


def _run(main: Any) -> None:
    """Run a coroutine on the fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:  # on systems that it does not run on
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
