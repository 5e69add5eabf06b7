"""Hidden folders to work in, which do not outlive their process for long.

A folder is locked (``flock``) as long as its process lives. What a killed process left behind has
no lock any more: the next one that works in the same place removes it, and first puts back what
was being moved when the process died.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtimes.signals import uninterrupted

NEW, OLD, JOURNAL = "new", "old", "moved.json"
"""In a workspace: what is being made, what it replaces, and which of it is being moved."""

_NAME = re.compile(r"\.kilnx-(?P<host>[0-9a-f]{8})-[a-z0-9_]{8}")
# A lock may be unknown to other machines that share the folder: theirs have to look dead as well.
_DEAD_AFTER_SECONDS = 86_400


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in ``parent`` that is gone afterwards, whatever happens.

    Raises ``OSError`` where it cannot be made. Those of dead processes are removed first.
    """
    remove_dead(parent)
    folder = None
    descriptor = -1
    try:
        with uninterrupted():
            folder, descriptor = _make(parent)
        yield folder
    finally:
        with uninterrupted():
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder for files that nobody keeps, where the system has those."""
    with workspace(Path(tempfile.gettempdir())) as folder:
        yield folder


def remove_dead(parent: Path) -> None:
    """Remove the workspaces in ``parent`` whose processes are dead."""
    try:
        with os.scandir(parent) as entries:
            found = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for folder in found:
        with suppress(OSError):
            _remove_if_dead(folder)


def put_back(folder: Path) -> None:
    """Undo a move out of a workspace that was not completed.

    The file that everything is named after moves last: as long as it is in the workspace, the
    others go back there, and what they replaced gets its place again.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        if not os.path.lexists(folder / NEW / str(journal["name"])):
            return
        for name, inode in journal["files"].items():
            moved = folder.parent / Path(name).name
            if os.path.lexists(moved) and moved.lstat().st_ino == inode:
                moved.rename(folder / NEW / moved.name)
        for old in (folder / OLD).iterdir():
            if not os.path.lexists(folder.parent / old.name):
                old.rename(folder.parent / old.name)


def _make(parent: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".kilnx-{_host()}-", dir=parent))
        descriptor = None
        try:
            descriptor = _locked(folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if descriptor is not None:
            return folder, descriptor


def _remove_if_dead(folder: Path) -> None:
    descriptor = _locked(folder, required=True)
    if descriptor is None:
        return
    try:
        if os.fstat(descriptor).st_uid == os.geteuid() and _is_ours_or_old(folder):
            put_back(folder)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _locked(folder: Path, *, required: bool = False) -> int | None:
    """A descriptor that locks ``folder``; None where another has it, or removed it meanwhile.

    Not ``required``: where the file system knows no locks, it goes without.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if required or error.errno == errno.EWOULDBLOCK:
            os.close(descriptor)
            return None
    if not os.path.lexists(folder) or not os.path.samestat(os.fstat(descriptor), folder.lstat()):
        os.close(descriptor)
        return None
    return descriptor


def _is_ours_or_old(folder: Path) -> bool:
    found = _NAME.fullmatch(folder.name)
    if found is None or found["host"] == _host():
        return found is not None
    newest = max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    return time.time() - newest > _DEAD_AFTER_SECONDS


def _host() -> str:
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
