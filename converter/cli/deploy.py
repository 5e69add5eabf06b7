"""``kilnx package --to``: what a bundle is written as for other systems."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from converter.packaging.options import DeployOptions, DeployReport
    from converter.packaging.package import PackageOptions
    from runtimes.options import RunOptions

System = Literal["executable", "docker", "k8s", "kserve", "triton", "mlflow"]


@dataclass(frozen=True)
class DeployGroup:
    """Which system the output is for, and what it is told."""

    to: Annotated[
        System | None,
        typer.Option(help="Write a folder that this system starts, in place of a bundle."),
    ] = None
    image: Annotated[
        str | None,
        typer.Option(
            help="Image of the server: [REGISTRY/]NAME:TAG.",
            metavar="IMAGE",
            show_default="name and version",
        ),
    ] = None
    replicas: Annotated[
        int | None, typer.Option(help="Least copies in a cluster.", min=1, show_default="1")
    ] = None
    max_replicas: Annotated[
        int | None, typer.Option(help="Most copies that scaling starts.", min=1, show_default="4")
    ] = None
    cpus: Annotated[
        int | None, typer.Option(help="Cores of one copy.", min=1, show_default="1")
    ] = None
    max_batch: Annotated[
        int | None,
        typer.Option(
            help="Most samples that Triton runs together.",
            min=1,
            show_default="the bundle's limit, or 32",
        ),
    ] = None
    instances: Annotated[
        int | None, typer.Option(help="Copies in one Triton server.", min=1, show_default="1")
    ] = None
    with_server: Annotated[
        bool, typer.Option("--with-server", help="Put the server into an executable, too.")
    ] = False

    def options(self) -> DeployOptions:
        """The options as functions take them; ``DataError`` where there is no system."""
        from converter.packaging.options import DeployOptions
        from runtimes.errors import DataError

        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name))}
        to = given.pop("to", None)
        if to is None and given:
            option = next(iter(given)).replace("_", "-")
            raise DataError(f"--{option} says how a system starts a bundle; name one with --to")
        return DeployOptions(**given)


def write_deployment(
    group: DeployGroup,
    source: Path,
    output: Path,
    data: Any,
    packaged: PackageOptions,
    run: RunOptions,
) -> DeployReport:
    """Write the output for the system that ``--to`` names."""
    from converter.packaging.deploy_source import deploy_source

    assert group.to is not None
    return deploy_source(
        source, output, group.to, data, options=group.options(), packaged=packaged, run=run
    )
