"""How the files of a weight store come into being, and how they are opened.

A store has to be valid at every moment, whatever dies in between: each file is written under a
temporary name, brought to disk and renamed, so a name in the store never stands for half a file.
Nothing is followed out of the store: what is a link or no ordinary file is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from runtimes.errors import DataError, ModelError

TEMPORARY_PREFIX = ".writing-"
"""Names that begin like this are left by a process that died; the next writer removes them."""


def write_whole(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write ``path`` so that it holds all of ``chunks`` or does not exist; replaces a file."""
    with named_afterwards(path.parent) as (file, give_name):
        for chunk in chunks:
            file.write(chunk)
        give_name(path)


@contextmanager
def named_afterwards(folder: Path) -> Iterator[tuple[_NewFile, _GiveName]]:
    """Yield a new file in ``folder``, and a function that puts it on disk under a name.

    The name may depend on what was written. A file that got none is removed.
    """
    temporary = folder / f"{TEMPORARY_PREFIX}{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    give_name = _GiveName(temporary, descriptor)
    try:
        yield _NewFile(descriptor), give_name
    finally:
        os.close(descriptor)
        if not give_name.done:
            temporary.unlink(missing_ok=True)


class _GiveName:
    """Bring the file to disk and rename it; the folder's entry is brought to disk as well."""

    def __init__(self, temporary: Path, descriptor: int) -> None:
        self.temporary = temporary
        self.descriptor = descriptor
        self.done = False

    def __call__(self, path: Path) -> None:
        os.fsync(self.descriptor)
        os.replace(self.temporary, path)  # noqa: PTH105 - one seam for fault injection
        self.done = True
        sync_folder(path.parent)


class _NewFile:
    """Writes without a buffer: bytes that were written do not die with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes | memoryview) -> None:
        """Write all of ``data``."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]


def sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create ``folder`` unless it is there; ``ModelError`` where a link or a file is."""
    try:
        os.mkdir(folder)  # noqa: PTH102 - one seam for fault injection
    except FileExistsError:
        check_folder(folder)


def check_folder(folder: Path) -> None:
    """Raise ``ModelError`` unless ``folder`` is a folder itself, not a link to one."""
    try:
        mode = folder.lstat().st_mode
    except OSError as error:
        raise ModelError(f"{folder}: {error.strerror}; the store is damaged") from error
    if not stat.S_ISDIR(mode):
        raise ModelError(f"{folder} is a link or a file where the store has a folder; refused")


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """Open an ordinary file of the store for reading; ``ModelError`` for anything else."""
    try:
        # Non-blocking: opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the store is damaged") from None
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else str(error.strerror)
        raise ModelError(f"{path} cannot be read: {reason}; refused") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ModelError(f"{path} is not an ordinary file; refused")
        yield file


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the store for writing; ``DataError`` when another process does, or none may.

    What an earlier writer left unfinished is removed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another process is writing to {folder}; try again when it is done"
            ) from None
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise DataError(f"another process replaced {folder} just now; try again")
        try:
            for left in (*folder.glob(f"{TEMPORARY_PREFIX}*"), *_in_folders(folder)):
                left.unlink()
            yield
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise DataError(f"not allowed to write to {folder}: {error.strerror}") from error
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DataError(f"no space left in {folder}; the store is as it was") from error
            raise
    finally:
        os.close(descriptor)


@contextmanager
def in_use(weights: Path) -> Iterator[None]:
    """Keep what is in the folder of weights from being collected while the block reads it."""
    descriptor = os.open(weights, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # A file system without locks still lets its stores be read; nobody collects there.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def only_user(weights: Path) -> Iterator[None]:
    """Keep others from reading; ``DataError`` while one does, or where files cannot be locked."""
    descriptor = os.open(weights, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            reason = "another process reads it; try again when it is done"
            if not isinstance(error, BlockingIOError):
                reason = f"its folder cannot be locked: {error.strerror}"
            raise DataError(f"nothing is removed from {weights.parent}: {reason}") from None
        yield
    finally:
        os.close(descriptor)


def _in_folders(folder: Path) -> Iterator[Path]:
    for inner in folder.iterdir():
        if inner.is_dir() and not inner.is_symlink():
            yield from inner.glob(f"{TEMPORARY_PREFIX}*")
