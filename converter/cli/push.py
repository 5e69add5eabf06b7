"""``kilnx push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_line
from converter.cli.options import Json
from converter.cli.progress import progress


def push(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder or a .kilnx file.")],
    server: Annotated[
        str,
        typer.Argument(
            help="A server that accepts pushes; http:// or https:// may stand before it.",
            metavar="HOST:PORT",
        ),
    ],
    token: Annotated[
        str | None,
        typer.Option(
            help="The server's control token.", envvar="KILNX_CONTROL_TOKEN", show_envvar=True
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            help="Certificates (PEM) by which the server is trusted.",
            metavar="FILE",
            show_default="those of the system",
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds for which the server may be away.", min=0.0)
    ] = 60.0,
    json: Json = False,
) -> None:
    """Let a running server serve a bundle; only the parts that it lacks are sent."""
    from runtimes.serving.push.client import push as run

    with progress() as say:
        report = run(bundle, server, token=token, ca=ca, patience=patience, progress=say)
    if json:
        print_json(report.to_dict())
        return
    print_line(report.headline())
