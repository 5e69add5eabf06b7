"""``kilnx package``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from converter.cli.console import print_json, print_report
from converter.cli.deploy import DeployGroup, write_deployment
from converter.cli.groups import ImageGroup, RunGroup, grouped
from converter.cli.options import Force, Json, PublicKey
from converter.cli.progress import progress

if TYPE_CHECKING:
    from converter.packaging.options import DeployReport
    from converter.packaging.package import PackageReport

_PASSWORD = "KILNX_SIGN_PASSWORD"


@grouped
def package(
    source: Annotated[
        Path,
        typer.Argument(
            help="The folder of kilnx compress or partition, an ONNX file, or a bundle."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="NAME.kilnx for one file, else a folder.")
    ],
    images: ImageGroup,
    run: RunGroup,
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="Held-out samples: those that calibrated are left out.", metavar="DATA"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What the model is called.", show_default="as the output"),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Which version of it this is.", show_default="1")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Names of the classes: a file with one a line or a JSON list, or A,B,C.",
            show_default="the data's, where they are names",
        ),
    ] = None,
    limits: Annotated[
        Path | None, typer.Option(help="What a server should refuse (JSON).", metavar="FILE")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="What a monitor should do, and when (JSON).", metavar="FILE"),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            help=f"Secret key of minisign that signs; {_PASSWORD} may hold its password.",
            metavar="KEY",
        ),
    ] = None,
    verify: PublicKey = None,
    deploy: DeployGroup,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a model with its proof as one bundle: to be run, served and watched."""
    from converter.packaging import labels as class_names
    from converter.packaging import package as command

    options = command.PackageOptions(
        name,
        version,
        None if labels is None else class_names.read_labels(labels),
        _document(limits),
        _document(policy),
        sign,
        _password,
        verify,
        force,
    )
    deploy.options()
    report: PackageReport | DeployReport
    with progress() as say:
        samples = images.open(data)
        if deploy.to is None:
            report = command.package(source, output, samples, options=options, run=run.run(say))
        else:
            report = write_deployment(deploy, source, output, samples, options, run.run(say))
    if json:
        print_json(report.to_dict())
        return
    print_report(report, notes=report.notes)


def _password() -> str:
    """The password of a key, from the environment or from who sits there."""
    known = os.environ.get(_PASSWORD)
    if known is not None:
        return known
    if not sys.stdin.isatty():
        from runtimes.errors import DataError

        raise DataError(f"the key has a password, and {_PASSWORD} does not hold it")
    return str(typer.prompt("Password of the key", hide_input=True, err=True))


def _document(path: Path | None) -> Any:
    """The JSON object in a file of the user's."""
    if path is None:
        return None
    import json as reader

    from runtimes.errors import DataError

    try:
        found = reader.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return found
