"""Deploy what is no bundle yet: it is packaged first, in a folder that is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.packaging.deploy import deploy
from converter.packaging.options import DeployOptions, DeployReport
from converter.packaging.package import PackageOptions, name_after, package
from converter.packaging.parts import is_bundle
from runtimes.atomic_files import scratch_folder
from runtimes.bundle import Bundle
from runtimes.errors import DataError
from runtimes.options import RunOptions


def deploy_source(
    source: Path,
    output: Path,
    to: str,
    data: Any = None,
    *,
    options: DeployOptions = DeployOptions(),
    packaged: PackageOptions = PackageOptions(),
    run: RunOptions = RunOptions(),
) -> DeployReport:
    """Write ``source`` for the system ``to``; see ``deploy``.

    A bundle goes there as it is, ``--name`` then names the deployment; whatever else ``package``
    takes, or what says something new about a bundle, is packaged first.
    """
    if packaged.sign is not None:
        raise DataError(f"sign the bundle, then write it for {to}: --to keeps its signature")
    with _bundle(source, output, data, packaged, run) as (bundle, notes):
        if bundle.path == source and packaged.name is not None:
            options = replace(options, name=packaged.name)
        run.tell(f"writing {output}")
        report = deploy(bundle, output, to, options, force=packaged.force)
        return replace(report, notes=(*notes, *report.notes))


@contextmanager
def _bundle(
    source: Path, output: Path, data: Any, options: PackageOptions, run: RunOptions
) -> Iterator[tuple[Bundle, tuple[str, ...]]]:
    said = (options.version, options.labels, options.limits, options.policy)
    if data is None and is_bundle(source) and all(one is None for one in said):
        with Bundle.open(source, public_key=options.verify) as bundle:
            yield bundle, ()
        return
    with scratch_folder() as scratch:
        path = scratch / (options.name or name_after(output))
        report = package(source, path, data, options=replace(options, force=False), run=run)
        with Bundle.open(path, verify=False) as bundle:
            yield bundle, report.notes
