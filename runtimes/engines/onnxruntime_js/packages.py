"""Where Node and the npm packages of ONNX Runtime are, and how to get them where they are not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import platformdirs

from runtimes.errors import RuntimeUnavailable

VARIABLE = "KILNX_NODE_MODULES"
"""The environment variable that names a folder ``node_modules`` in which to look first."""

OLDEST_NODE = 18

_GET_NODE = (
    "get it from https://nodejs.org, or with the system's package manager "
    "(Debian and Ubuntu: apt install nodejs npm)"
)


@dataclass(frozen=True)
class NpmPackage:
    """An npm package: its folder and its version."""

    name: str
    folder: Path
    version: str


def find_node() -> str:
    """The path of Node's program.

    Raises:
        RuntimeUnavailable: There is none, or it is too old.
    """
    path = shutil.which("node")
    if path is None:
        raise RuntimeUnavailable(f"Node is not installed; {_GET_NODE}")
    version = _node_version(path)
    if version is None:
        raise RuntimeUnavailable(f"{path} does not say its version, as Node does; {_GET_NODE}")
    if version < OLDEST_NODE:
        raise RuntimeUnavailable(
            f"{path} is Node {version}; kilnx needs Node {OLDEST_NODE} or later: {_GET_NODE}"
        )
    return path


def find_package(name: str) -> NpmPackage:
    """The first package of that name where kilnx looks.

    Raises:
        RuntimeUnavailable: There is none; the message has the command that installs it.
    """
    for folder in _folders():
        described = folder / name / "package.json"
        if described.is_file():
            return NpmPackage(name, folder.absolute() / name, _version(described))
    raise RuntimeUnavailable(
        f"the npm package {name} is not installed: {install_command(name)} (kilnx also looks in "
        f"./node_modules, and first in the folder that {VARIABLE} names)"
    )


def install_command(name: str) -> str:
    """The command that installs a package where kilnx finds it.

    Without scripts: that of onnxruntime-node fetches files for CUDA from elsewhere.
    """
    return f"npm install --ignore-scripts --prefix {_cache()} {name}"


def _folders() -> list[Path]:
    named = os.environ.get(VARIABLE)
    first = [Path(named)] if named else []
    return [*first, Path("node_modules"), _cache() / "node_modules"]


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("kilnx")) / "node"


def _version(described: Path) -> str:
    try:
        version = json.loads(described.read_text("utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeUnavailable(
            f"{described} does not tell a version; install the package again"
        ) from error
    return str(version)


@lru_cache
def _node_version(path: str) -> int | None:
    """The first number of Node's version."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else None
