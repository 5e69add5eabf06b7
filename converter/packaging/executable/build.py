"""Build the executable: the launcher, every distribution that kilnx runs on, and the bundle."""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib import metadata, resources
from itertools import chain
from pathlib import Path
from typing import Any

from converter.packaging.executable.launcher import CACHE, LAUNCH
from converter.packaging.installed import closure, engine_extra, installed_files
from converter.packaging.names import model_name
from converter.packaging.options import DeployOptions, Exported
from converter.packaging.project import own_project
from converter.packaging.wheel import own_files
from converter.packaging.zip_file import write_zip
from runtimes.bundle import Bundle
from runtimes.bundle.file_names import UNLISTED
from runtimes.errors import RuntimeUnavailable
from runtimes.version import own_version

_LIBRARY, _BUNDLE = "lib", "bundle"


def export_executable(bundle: Bundle, folder: Path, options: DeployOptions) -> Exported:
    """Write ``NAME.pyz`` into ``folder``."""
    name = model_name(options.name or bundle.name)
    extras = [engine_extra(), *(["serve"] if options.with_server else [])]
    path = folder / f"{name}.pyz"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with path.open("wb") as file:
        file.write(f"#!/usr/bin/env python{python}\n".encode())
        write_zip(file, _entries(bundle, closure(extras), options, python))
    path.chmod(0o755)
    serve = (f"python{python} {path.name} serve",) if options.with_server else ()
    return Exported(
        next_steps=(f"python{python} {path.name} --data samples.npz", *serve),
        notes=(
            f"it runs with Python {python} on {sysconfig.get_platform()}, without network and "
            "without anything installed",
            f"the first start unpacks it to the user's cache; {CACHE} names another folder",
        ),
    )


def _entries(
    bundle: Bundle,
    distributions: Sequence[metadata.Distribution],
    options: DeployOptions,
    python: str,
) -> Iterator[tuple[str, bytes]]:
    """All files of the archive; what says what they are comes last, when they are known."""
    files: dict[str, dict[str, Any]] = {}
    for name, content in _payload(bundle, distributions):
        found = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        if files.setdefault(name, found) is found:
            yield name, content
        elif files[name] != found:
            raise RuntimeUnavailable(
                f"two distributions install {name} with another content; install them again"
            )
    launch = {
        "kilnx": own_version(),
        "bundle": bundle.digest,
        "commands": ["run", "drift", *(["serve"] if options.with_server else [])],
        "python": python,
        "abi": sysconfig.get_config_var("SOABI"),
        "files": files,
    }
    yield LAUNCH, json.dumps(launch, sort_keys=True).encode()
    launcher = resources.files("converter.packaging.executable") / "launcher.py"
    yield "__main__.py", launcher.read_bytes()


def _payload(
    bundle: Bundle, distributions: Sequence[metadata.Distribution]
) -> Iterator[tuple[str, bytes]]:
    ours = own_files(own_project())
    for name, content in chain(ours, *map(installed_files, distributions)):
        yield f"{_LIBRARY}/{name}", content
    for name in sorted({*bundle.files, *UNLISTED}):
        path = bundle.folder / name
        if path.is_file():
            yield f"{_BUNDLE}/{name}", path.read_bytes()
