"""Output that appears whole or not at all, and never over a file of the user's."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtimes.errors import DataError, KilnxError


def refuse_existing(path: str | os.PathLike[str], *, force: bool) -> Path:
    """Return ``path`` if an output may be written there.

    An existing file or a folder that is not empty is the user's: without ``force`` it is a
    ``DataError``, and so are a path whose parent is not a folder and one of the wrong kind.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: {path.parent} is not a folder; create it first")
    if path.exists() and not force:
        what = "folder that is not empty" if path.is_dir() else "file"
        if not path.is_dir() or any(path.iterdir()):
            raise DataError(
                f"{path} is an existing {what}; choose another output or replace it with --force"
            )
    return path


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Yield a new folder beside ``path`` that takes its name when the block ends well.

    When the block raises (Ctrl-C included) the new folder is removed and whatever stood at
    ``path`` is untouched. With ``force`` an existing folder is replaced; one that is not
    a folder is refused.
    """
    path = refuse_existing(path, force=force)
    if path.exists() and not path.is_dir():
        raise DataError(f"{path} is a file, and the output is a folder; choose another output")
    with _space(path):
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        with _space(path):
            yield work
            work.chmod(0o777 & ~_umask())
            old = None
            if path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
                path.rename(old / "old")
            try:
                work.rename(path)
            except BaseException:
                if old is not None:
                    (old / "old").rename(path)
                raise
            finally:
                if old is not None:
                    shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def atomic_file(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Yield a path in a new folder beside ``path``; on success that file gets its name.

    Every file that the block wrote in that folder (external data, say) moves along. The
    others move first, so that the named file never stands without them.
    """
    path = refuse_existing(path, force=force)
    if path.is_dir():
        raise DataError(f"{path} is a folder, and the output is a file; add a file name")
    with _space(path):
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        with _space(path):
            yield work / path.name
            beside = sorted(p for p in work.iterdir() if p.name != path.name)
            for extra in beside:
                refuse_existing(path.parent / extra.name, force=force)
            for extra in beside:
                extra.replace(path.parent / extra.name)
            (work / path.name).replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _space(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors that name the output."""
    try:
        yield
    except OSError as error:
        if isinstance(error, KilnxError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"no space left to write {path}; free some or write elsewhere"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataError(f"not allowed to write {path}: {error.strerror}") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
