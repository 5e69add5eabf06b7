"""Where the files of a bundle are written: into a folder, or into one archive; same content."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from runtimes.bundle.manifest import FileEntry
from runtimes.bundle.zip_records import ZipEntry, central_header, ending, local_header

Content = Path | bytes
"""A file to copy, or the bytes themselves."""

_CHUNK = 1 << 20


class Sink(Protocol):
    """Takes files one after the other, and tells what was written of each."""

    def add(self, name: str, content: Content) -> FileEntry:
        """Write a file."""
        ...


class FolderSink:
    """Files below a folder that exists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, content: Content | Iterable[bytes]) -> FileEntry:
        """Write a file, with the folders above it."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with path.open("xb") as file:
            for piece in _pieces(content):
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        return FileEntry(digest.hexdigest(), size)


class ArchiveSink:
    """Entries of a zip file that can be sought in; ``close`` ends it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[ZipEntry] = []

    def add(self, name: str, content: Content) -> FileEntry:
        """Write an entry."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        return self.add_pieces(name, size, _pieces(content))

    def add_pieces(self, name: str, size: int, pieces: Iterable[bytes]) -> FileEntry:
        """Write an entry of ``size`` bytes; its header, which has its CRC-32, comes last."""
        offset = self._file.tell()
        self._file.seek(ZipEntry(name, offset, size, 0).content)
        digest, crc, written = hashlib.sha256(), 0, 0
        for piece in pieces:
            digest.update(piece)
            crc = zlib.crc32(piece, crc)
            written += len(piece)
            self._file.write(piece)
        if written != size:
            raise OSError(f"{name!r} changed while it was copied")
        entry = ZipEntry(name, offset, size, crc)
        self._file.seek(offset)
        self._file.write(local_header(entry))
        self._file.seek(entry.stop)
        self._entries.append(entry)
        return FileEntry(digest.hexdigest(), size)

    def close(self) -> None:
        """Write the central directory, and what ends the file."""
        offset = self._file.tell()
        directory = b"".join(map(central_header, self._entries))
        self._file.write(directory + ending(len(self._entries), len(directory), offset))


def _pieces(content: Content | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    if not isinstance(content, Path):
        yield from content
        return
    with content.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
