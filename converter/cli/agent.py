"""``kilnx agent``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_line
from converter.cli.options import Cert, Host, Json, Key, Plain, Port

_MIB = 2**20


def agent(
    host: Host = "127.0.0.1",
    port: Port = 8714,
    token: Annotated[
        str | None,
        typer.Option(
            help="What clients have to know, 16 characters or more.",
            envvar="KILNX_TOKEN",
            show_envvar=True,
            show_default="made up and shown",
        ),
    ] = None,
    cert: Cert = None,
    key: Key = None,
    plain: Plain = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Where parts of models are kept.",
            metavar="FOLDER",
            show_default="in the user's cache",
        ),
    ] = None,
    max_jobs: Annotated[int, typer.Option(help="Models that are open at a time.", min=1)] = 4,
    max_seconds: Annotated[
        float, typer.Option(help="How long one request may take.", min=0.1)
    ] = 600.0,
    max_memory: Annotated[
        int | None,
        typer.Option(
            help="Memory of a job.",
            metavar="MIB",
            min=256,
            show_default="three quarters of the machine's",
        ),
    ] = None,
    max_body: Annotated[
        int, typer.Option(help="Size of a request or an answer.", metavar="MIB", min=1)
    ] = 256,
    max_model: Annotated[int, typer.Option(help="Size of a model.", metavar="MIB", min=1)] = 4096,
    max_cache: Annotated[
        int, typer.Option(help="Size of the parts that are kept.", metavar="MIB", min=1)
    ] = 8192,
    max_rate: Annotated[
        float, typer.Option(help="Requests a second from one address.", min=1.0)
    ] = 100.0,
    json: Json = False,
) -> None:
    """Let other machines run, time and judge ONNX models on this one, with --device."""
    from runtimes.agent.limits import Limits
    from runtimes.agent.server import AgentOptions, running

    limits = Limits(
        body_bytes=max_body * _MIB,
        flight_bytes=4 * max_body * _MIB,
        model_bytes=max_model * _MIB,
        cache_bytes=max_cache * _MIB,
        jobs=max_jobs,
        requests_per_second=max_rate,
        seconds=max_seconds,
        **({} if max_memory is None else {"memory_bytes": max_memory * _MIB}),
    )
    options = AgentOptions(host, port, token, cert, key, plain, cache, limits)
    with running(options) as server:
        shown = None if token is not None else server.token
        if json:
            print_json({"address": server.address, "token": shown, "tls": cert is not None})
        else:
            print_line(f"listening on {server.address}{' with TLS' if cert is not None else ''}")
            if shown is not None:
                print_line(f"token: {shown}")
            print_line("Ctrl-C stops it; on the other machine, give --device HOST:PORT")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:  # which is how it is meant to end
            if not json:
                print_line("stopped")
