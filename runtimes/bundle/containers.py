"""A bundle as a folder or as one file: the files in it, found without trusting a name or a size."""

from __future__ import annotations

import os
import stat
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from runtimes.base import Closable
from runtimes.bundle.archive import open_archive
from runtimes.bundle.faults import Fault, refusal
from runtimes.bundle.file_names import MOST_FILES, check_name, check_names
from runtimes.bundle.zip_records import ZipEntry

CHUNK = 1 << 20
"""Bytes that are read at once."""

State = tuple[int, int, int]
"""What changes with a file: where it lies, its size and when it was written."""


class Container(Closable):
    """Files by name with their sizes in bytes; ``states`` where others could change them."""

    sizes: Mapping[str, int]
    states: Mapping[str, State]

    @abstractmethod
    def read(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file, some at a time, and never more than its size."""


class FolderContainer(Container):
    """The files in a folder, ``states`` as they were when it was looked through.

    Raises ``BundleError`` for links and for what is neither file nor folder. A file is opened only
    if it is still no link, and read only as far as it reached.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.states = dict(_files(folder))
        self.sizes = {name: state[1] for name, state in self.states.items()}
        check_names(self.sizes, str(folder))

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file; raises ``BundleError`` where it is another one meanwhile."""
        path = self._folder / name
        try:
            # Non-blocking: opening a pipe that nobody writes to would wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(path, error) from error
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if state_of(os.fstat(descriptor)) != self.states[name]:
                raise refusal(Fault.CHANGED, f"{path} changed while the bundle was being opened")
            yield from pieces(file, self.sizes[name], str(path))

    def close(self) -> None:
        """Nothing is open between reads."""


class ArchiveContainer(Container):
    """The files in an archive, whose records were all checked when it was opened."""

    states: Mapping[str, State] = MappingProxyType({})

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            self._entries: dict[str, ZipEntry] = open_archive(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self.sizes = {name: entry.size for name, entry in self._entries.items()}

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file; raises ``BundleError`` where its CRC-32 is another one."""
        entry, crc = self._entries[name], 0
        self._file.seek(entry.content)
        for piece in pieces(self._file, entry.size, f"{self._path}: {name}"):
            crc = zlib.crc32(piece, crc)
            yield piece
        if crc != entry.crc:
            raise refusal(
                Fault.DIGEST, f"{self._path}: {name!r} is damaged: its CRC-32 is another one"
            )

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


def pieces(file: BinaryIO, size: int, where: str) -> Iterator[bytes]:
    """Yield the next ``size`` bytes of a file; raises ``BundleError`` where it has fewer."""
    left = size
    while left:
        piece = file.read(min(left, CHUNK))
        if not piece:
            raise refusal(Fault.SIZE, f"{where} ends {left} bytes early")
        left -= len(piece)
        yield piece


def state_of(found: os.stat_result) -> State:
    """What would be another if a file were."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def unreadable(path: Path, error: OSError) -> Exception:
    """The error for a file that the system does not give."""
    return refusal(Fault.UNREADABLE, f"{path} cannot be read: {error.strerror or error}")


def _files(folder: Path) -> Iterator[tuple[str, State]]:
    """Yield what lies in a folder, by its path in it; nothing is followed out of it."""
    found = 0
    left = [""]
    while left:
        inside = left.pop()
        entries = _entries(folder / inside)
        if inside and not entries:
            raise refusal(
                Fault.EXTRA, f"{folder} holds the empty folder {inside!r}; a bundle holds files"
            )
        for entry in entries:
            name = inside + entry.name
            found += 1
            if found > 2 * MOST_FILES:
                raise refusal(
                    Fault.TOO_MANY, f"{folder} holds more than the {MOST_FILES:,} files of a bundle"
                )
            check_name(name, str(folder))
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                left.append(f"{name}/")
            else:
                _refuse_unusual(status.st_mode, folder / name)
                yield name, state_of(status)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from error


def _refuse_unusual(mode: int, path: Path) -> None:
    if stat.S_ISLNK(mode):
        raise refusal(
            Fault.LINK, f"{path} is a link, and a bundle holds its files itself; copy what it means"
        )
    if not stat.S_ISREG(mode):
        raise refusal(Fault.SPECIAL, f"{path} is neither a file nor a folder; refused")
