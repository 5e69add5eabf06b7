"""``kilnx serve``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_line
from converter.cli.options import Cert, Host, Json, Key, Plain, Port

_MIB = 2**20


class LogFormat(StrEnum):
    """How events are written to stderr."""

    TEXT = "text"
    JSON = "json"


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="A bundle, an ONNX file, a folder of compress, of stages or of versions; "
            "NAME=PATH gives it another name.",
            metavar="[NAME=]PATH",
            show_default=False,
        ),
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="A folder of models.", metavar="FOLDER")
    ] = None,
    versions: Annotated[
        str, typer.Option(help="Versions to serve: latest, latest:N, all, or a list: 1,3.")
    ] = "latest",
    host: Host = "127.0.0.1",
    port: Port = 8000,
    grpc_port: Annotated[
        int | None, typer.Option(help="The port for gRPC.", min=0, max=65535)
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="What clients have to know, 16 characters or more.",
            envvar="KILNX_TOKEN",
            show_envvar=True,
        ),
    ] = None,
    control_token: Annotated[
        str | None,
        typer.Option(
            help="What those have to know who load and unload models.",
            envvar="KILNX_CONTROL_TOKEN",
            show_envvar=True,
            show_default="the token",
        ),
    ] = None,
    cert: Cert = None,
    key: Key = None,
    plain: Plain = False,
    threads: Annotated[int, typer.Option(help="Threads of one run.", min=1)] = 1,
    replicas: Annotated[
        int | None,
        typer.Option(
            help="Runs of a model at a time.", min=1, show_default="as many as there are cores"
        ),
    ] = None,
    max_batch: Annotated[
        int, typer.Option(help="Samples that are run together; 1 never batches.", min=1)
    ] = 32,
    queue: Annotated[int, typer.Option(help="Requests that may wait for one model.", min=1)] = 256,
    deadline: Annotated[
        float, typer.Option(help="Seconds that a request may take.", min=0.001)
    ] = 30.0,
    max_body: Annotated[int, typer.Option(help="Size of a request.", metavar="MIB", min=1)] = 64,
    connections: Annotated[int, typer.Option(help="Connections that may be open.", min=1)] = 8192,
    drain: Annotated[
        float, typer.Option(help="Seconds to finish requests when stopped.", min=0.0)
    ] = 30.0,
    watch: Annotated[
        float, typer.Option(help="Seconds between looks for changed files; 0 never looks.", min=0.0)
    ] = 0.0,
    monitor: Annotated[
        bool, typer.Option(help="Compare bundles with what was proven of them.")
    ] = True,
    state: Annotated[
        Path | None, typer.Option(help="Where the monitor keeps its state.", metavar="FOLDER")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="A URL that the monitor's alarms are sent to.")
    ] = None,
    share: Annotated[
        Path | None,
        typer.Option(
            help="A folder through which models and processes share equal weights.",
            metavar="FOLDER",
        ),
    ] = None,
    stage_processes: Annotated[
        bool,
        typer.Option(
            "--stage-processes", help="Run each stage of a model in a process of its own."
        ),
    ] = False,
    stage_token: Annotated[
        str | None,
        typer.Option(
            help="What servers want to know that run stages.",
            envvar="KILNX_STAGE_TOKEN",
            show_envvar=True,
        ),
    ] = None,
    stage_servers: Annotated[
        bool,
        typer.Option("--stage-servers", help="Ask the servers that a bundle of stages names."),
    ] = False,
    accept_pushes: Annotated[
        bool,
        typer.Option(
            "--accept-pushes",
            help="Let those who know the control token push bundles into the repository.",
        ),
    ] = False,
    max_push: Annotated[
        int, typer.Option(help="Size of a bundle that is pushed.", metavar="MIB", min=1)
    ] = 4096,
    verify: Annotated[
        list[str] | None,
        typer.Option(
            help="Public key of minisign, or its file: serve only bundles that its owner signed; "
            "repeatable, one of them suffices.",
            metavar="KEY",
            show_default=False,
        ),
    ] = None,
    page: Annotated[bool, typer.Option(help="Serve the page at /.")] = True,
    trace: Annotated[bool, typer.Option("--trace", help="Send OpenTelemetry spans.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="How events are written to stderr.")
    ] = LogFormat.TEXT,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Write each request to the log.")
    ] = False,
    json: Json = False,
) -> int:
    """Serve models over HTTP and gRPC by the Open Inference Protocol v2."""
    from runtimes.serving.options import ModelOptions, ServeLimits, ServeOptions
    from runtimes.serving.run import Addresses
    from runtimes.serving.run import serve as run_server

    options = ServeOptions(
        models=tuple(models or ()),
        repository=repository,
        versions=versions,
        host=host,
        port=port,
        grpc_port=grpc_port,
        token=token,
        control_token=control_token,
        cert=cert,
        key=key,
        plain=plain,
        watch=watch,
        drain=drain,
        log_format=log_format.value,
        log_requests=log_requests,
        trace=trace,
        page=page,
        accept_pushes=accept_pushes,
        verify=tuple(verify or ()),
        model=ModelOptions(
            threads=threads,
            replicas=replicas,
            max_batch=max_batch,
            monitor=monitor,
            state=state,
            webhook=webhook,
            share=share,
            stages="processes" if stage_processes else "threads",
            stage_token=stage_token,
            stage_servers=stage_servers,
        ),
        limits=ServeLimits(
            body_bytes=max_body * _MIB,
            queue=queue,
            seconds=deadline,
            connections=connections,
            push_bytes=max_push * _MIB,
        ),
    )

    def show(where: Addresses) -> None:
        if json:
            print_json({"url": where.url, "grpc": where.grpc})
        else:
            also = "" if where.grpc is None else f", gRPC on {where.grpc}"
            print_line(f"serving on {where.url}{also}")
            print_line("Ctrl-C stops it")

    return run_server(options, show)
