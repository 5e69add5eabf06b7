"""Where Node and the npm packages of ONNX Runtime are, and how to get them where they are not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import platformdirs

from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra, pip_install

VARIABLE = "KILNX_NODE_MODULES"
"""The environment variable that names a folder ``node_modules`` in which to look first."""

OLDEST_NODE = 18


@dataclass(frozen=True)
class NpmPackage:
    """An npm package: its folder and its version."""

    name: str
    folder: Path
    version: str


def require_onnxruntime_js(package: str) -> None:
    """Raise ``RuntimeUnavailable`` unless Node and this npm package are installed."""
    find_node()
    find_package(package)


def find_node() -> str:
    """The path of Node's own program, whatever starts it when ``node`` is called.

    Raises:
        RuntimeUnavailable: There is none, or it is too old.
    """
    called = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    if called is None:
        raise RuntimeUnavailable(missing_extra("Node", "web", "it is not on the PATH"))
    found = _ask_node(called)
    if found is None:
        raise RuntimeUnavailable(
            f"{called} does not say its version, as Node does; {_another_node()}"
        )
    program, version = found
    if version < OLDEST_NODE:
        raise RuntimeUnavailable(
            f"{called} is Node {version}; kilnx needs Node {OLDEST_NODE} or later: "
            f"{_another_node()}"
        )
    return program


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
def _ask_node(called: str) -> tuple[str, int] | None:
    """The program that runs in the end, not a script that starts it, and its major version."""
    question = "JSON.stringify([process.execPath, process.versions.node])"
    try:
        done = subprocess.run(
            [called, "-p", question], capture_output=True, text=True, timeout=60, check=False
        )
        program, version = json.loads(done.stdout)
        return str(program), int(str(version).partition(".")[0])
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError):
        return None


def _another_node() -> str:
    return f"get one from https://nodejs.org, or by the extra 'web': {pip_install('web')}"
