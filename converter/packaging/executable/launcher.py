"""What runs first in an executable: unpacks it once, verified, and starts its model.

It is copied into the executable as ``__main__.py`` and has the standard library alone. Native
libraries cannot be loaded from a zip file, so everything goes to a folder of the user's cache
named after the digest of the content. Processes that start at once wait for one of them to unpack;
a folder gets its name when it is complete, and what a killed process left is removed.

Old versions of Python have to read this file, to say that they are too old.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

LAUNCH = "launch.json"
"""What an executable says of itself: bundle, commands, Python and the digest of every file."""

CACHE = "KILNX_CACHE_DIR"
"""The variable that names the folder to unpack to."""

EXIT_UNAVAILABLE = 3

_CHUNK = 1 << 20


def main() -> None:
    """Unpack what this archive holds, if nobody did, and run it with the arguments."""
    archive = Path(__file__).absolute().parent
    with zipfile.ZipFile(archive) as held:
        raw = held.read(LAUNCH)
        launch = json.loads(raw.decode())
        refuse_other_python(launch, archive)
        try:
            folder = unpacked(held, launch, hashlib.sha256(raw).hexdigest(), cache_root())
        except (OSError, zipfile.BadZipFile) as error:
            megabytes = sum(entry["size"] for entry in launch["files"].values()) // 1000000
            fail(
                f"cannot unpack {archive.name} ({megabytes} MB): {error}; "
                f"{CACHE} names another folder to unpack to"
            )
    start(launch, folder, archive)


def refuse_other_python(launch: Mapping[str, Any], archive: Path) -> None:
    """End with a sentence where the native libraries cannot be loaded."""
    here = sysconfig.get_config_var("SOABI")
    if here != launch["abi"]:
        fail(
            f"{archive.name} needs Python {launch['python']} ({launch['abi']}), and this is "
            f"Python {sys.version_info[0]}.{sys.version_info[1]} ({here})"
        )


def fail(message: str) -> NoReturn:
    """Say in one line why it cannot start, and end."""
    sys.stderr.write(f"error: {message}\n")
    sys.exit(EXIT_UNAVAILABLE)


def start(launch: Mapping[str, Any], folder: Path, archive: Path) -> None:
    """Hand over to kilnx: the bundle comes first, the command is ``run`` unless it is named."""
    library = str(folder / "lib")
    # Nothing of this archive is imported any more, and nothing that is installed comes first.
    sys.path[:] = [library, *(path for path in sys.path if Path(path) != archive)]
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{library}{os.pathsep}{inherited}" if inherited else library
    sys.argv[1:] = arguments(launch, str(folder / "bundle"), sys.argv[1:])
    importlib.import_module("converter.__main__").main()


def arguments(launch: Mapping[str, Any], bundle: str, given: list[str]) -> list[str]:
    """The arguments of ``kilnx`` for those of the executable."""
    if given[:1] == ["--version"]:
        return given
    if given and given[0] in launch["commands"]:
        return [given[0], bundle, *given[1:]]
    return [launch["commands"][0], bundle, *given]


def cache_root() -> Path:
    """The folder of all executables, to which only this user writes; made if it is missing."""
    named = os.environ.get(CACHE)
    if named:
        return private_folder(Path(named).absolute())
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return private_folder(Path(home, "kilnx", "executables"))
    except (OSError, RuntimeError):  # no home, or nothing can be written there
        temporary = tempfile.gettempdir()
        return private_folder(Path(temporary, f"kilnx-executables-{os.geteuid()}"))


def private_folder(path: Path) -> Path:
    """Return ``path`` if nobody else can put code there; raises ``OSError`` otherwise."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{path} is not a folder of this user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} can be written by other users")
    return path


def unpacked(held: zipfile.ZipFile, launch: Mapping[str, Any], key: str, root: Path) -> Path:
    """The folder of the unpacked files, in ``root``."""
    target = root / key
    if is_complete(target, launch["files"]):
        return target
    with locked(root / f"{key}.lock"):
        if is_complete(target, launch["files"]):
            return target
        remove_left(root, key)
        scratch = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=root))
        try:
            extract(held, launch["files"], scratch)
            if os.path.lexists(target):  # a cleaner took some of it
                target.rename(root / f"{key}.old")
            scratch.rename(target)
        finally:
            remove_left(root, key)
    return target


def is_complete(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether every file is there with its size; they were verified when they were written."""
    try:
        for name, entry in files.items():
            found = (folder / name).lstat()
            if found.st_size != entry["size"] or not stat.S_ISREG(found.st_mode):
                return False
    except OSError:
        return False
    return True


def extract(held: zipfile.ZipFile, files: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Write every file; raises ``OSError`` for the first whose digest is another one."""
    for name, entry in files.items():
        if name.startswith("/") or ".." in name.split("/"):
            raise OSError(f"{name!r} leads out of the folder")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with held.open(name) as source, path.open("xb") as file:
            for chunk in iter(lambda: source.read(_CHUNK), b""):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != entry["sha256"]:
            raise OSError(f"{name!r} is damaged; copy the executable again")


def remove_left(root: Path, key: str) -> None:
    """Remove what is unfinished or replaced; only who has the lock may."""
    for path in root.glob(f"{key}.*"):
        if path.name != f"{key}.lock":
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``; the system frees it if the process is killed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
