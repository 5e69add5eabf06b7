"""One file or one folder that gets its name when it is done."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runtimes.atomic_files.renames import exchange, rename_new
from runtimes.atomic_files.replaceable import (
    Foreign,
    Ours,
    existing_paths,
    mentions,
    refuse_existing,
    resolved,
)
from runtimes.atomic_files.workspace import JOURNAL, NEW, OLD, put_back, workspace
from runtimes.errors import DataError
from runtimes.signals import uninterrupted


@contextmanager
def atomic_folder(
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    inputs: Iterable[Any] = (),
    foreign: Foreign | None = None,
) -> Iterator[Path]:
    """Yield a new folder next to ``path`` that takes its name when the block ends well.

    When the block raises (Ctrl-C included) the new folder is removed and what stands at ``path``
    stays as it is. What may be replaced, and ``inputs``, ``foreign``: see ``refuse_existing``,
    which has the last word when the block is done. One that is not a folder is refused.
    """
    path = Path(path)
    target = resolved(path)
    if target.exists() and not target.is_dir():
        raise DataError(f"{path} is a file, and the output is a folder; choose another output")
    rules: dict[str, Any] = {"force": force, "inputs": tuple(inputs), "foreign": foreign}
    refuse_existing(path, **rules)
    with _explained(path), workspace(target.parent) as work:
        new = work / NEW / target.name
        new.mkdir(parents=True)
        yield new
        _sync(new)
        with uninterrupted(), _free():
            # Looked at before the check: what appears after it is not replaced.
            replaces = target.exists() and any(target.iterdir())
            refuse_existing(path, **rules)
            _copy_mode(target, new)
            _replace_folder(work, target, replaces=replaces)
        _sync_names(target.parent)


@contextmanager
def atomic_file(
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    inputs: Iterable[Any] = (),
    ours: Ours | None = None,
) -> Iterator[Path]:
    """Yield a path in a new folder next to ``path``; on success that file gets its name.

    Every file that the block wrote in that folder (external data, say) moves along. The
    others move first, so that the named file never stands without them; they replace only what
    the file that is replaced names as its own. Rules as those of ``refuse_existing``.
    """
    path = Path(path)
    target = resolved(path)
    if target.is_dir():
        raise DataError(f"{path} is a folder, and the output is a file; add a file name")
    rules: dict[str, Any] = {"force": force, "inputs": tuple(inputs), "ours": ours}
    refuse_existing(path, **rules)
    with _explained(path), workspace(target.parent) as work:
        new = work / NEW / target.name
        new.parent.mkdir()
        yield new
        _sync(new.parent)
        with uninterrupted(), _free():
            replaces = target.exists()
            refuse_existing(path, **rules)
            _copy_mode(target, new)
            _replace_file(work, target, rules["inputs"], replaces=replaces)
        _sync_names(target.parent)


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all, in place of what kilnx wrote there before.

    Whether that may be replaced the caller knows. Raises ``OSError`` where it cannot be written.
    """
    path = Path(path)
    with workspace(path.parent) as work:
        new = work / path.name
        new.write_text(text, encoding="utf-8")
        _sync(work)
        new.replace(path)
    _sync_names(path.parent)


def _replace_folder(work: Path, target: Path, *, replaces: bool) -> None:
    new = work / NEW / target.name
    if not replaces:
        new.rename(target)  # of folders, this replaces only an empty one
    elif not exchange(new, target):
        _move(work, target, [])


def _replace_file(work: Path, target: Path, inputs: tuple[Any, ...], *, replaces: bool) -> None:
    new = work / NEW / target.name
    extras = sorted(path for path in new.parent.iterdir() if path != new)
    for extra in extras:
        _refuse_extra(target.parent / extra.name, target, inputs)
    if extras:
        _move(work, target, extras)
    elif replaces:
        new.replace(target)
    else:
        rename_new(new, target)


def _refuse_extra(path: Path, target: Path, inputs: tuple[Any, ...]) -> None:
    """Data next to a file are replaced with it if the file says that they are its own."""
    if not os.path.lexists(path):
        return
    read = any(source.samefile(path) for source in existing_paths(inputs))
    if path.is_file() and not read and mentions(target, path.name):
        return
    raise DataError(
        f"{path} is an existing file that does not belong to {target.name}; move it away, or "
        "choose another output"
    )


def _move(work: Path, target: Path, extras: list[Path]) -> None:
    """Move several things out of the workspace, or none of them; a killed move is undone later."""
    folder, main = target.parent, work / NEW / target.name
    inodes = {extra.name: extra.lstat().st_ino for extra in extras}
    journal = json.dumps({"name": target.name, "files": inodes})
    (work / OLD).mkdir()
    (work / JOURNAL).write_text(journal, encoding="utf-8")
    try:
        for old in (target, *(folder / extra.name for extra in extras)):
            if os.path.lexists(old):
                old.rename(work / OLD / old.name)
        for extra in extras:
            rename_new(extra, folder / extra.name)
        if main.is_dir():
            main.rename(target)
        else:
            rename_new(main, target)
    except BaseException:
        put_back(work)
        raise


def _copy_mode(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.copymode(source, target)


def _sync(folder: Path) -> None:
    """Bring what is in ``folder`` to disk, before it gets a name that promises it."""
    for root, _, files in os.walk(folder):
        for name in files:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        _sync_names(Path(root))


def _sync_names(folder: Path) -> None:
    with suppress(OSError):  # not every file system takes a folder
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into errors that name the output."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None or not _is_about(error, path):
            raise
        raise DataError(reason.format(path=path, error=error.strerror)) from error


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error can be one of writing ``path``: it names no file, or one near it."""
    name = error.filename
    if not isinstance(name, str | bytes):
        return True
    return Path(os.fsdecode(name)).absolute().is_relative_to(resolved(path).parent)


@contextmanager
def _free() -> Iterator[None]:
    """What took the place of an output while it was being made is a ``DataError``, and stays."""
    try:
        yield
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        name = error.filename2 or error.filename
        raise DataError(
            f"{name} appeared while this command ran, and stays; choose another output"
        ) from error


_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
_REASONS = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT),
        "no space left to write {path}; free some or write elsewhere",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "not allowed to write {path}: {error}"
    ),
    **dict.fromkeys(
        (errno.EXDEV, errno.EBUSY),
        "{path} is where another disk begins; choose a file or folder inside it",
    ),
    errno.EFBIG: "{path} is larger than a file may be here; write elsewhere",
}
