"""Parts of models by their SHA-256, kept up to a size: only what is missing has to travel."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from runtimes.agent.messages import DIGEST, ModelFiles, Part
from runtimes.errors import DataError

_CHUNK = 1 << 20


class MissingParts(Exception):
    """Parts that have to be sent first."""

    def __init__(self, digests: Iterable[str]) -> None:
        self.digests = tuple(sorted(set(digests)))
        super().__init__(f"{len(self.digests)} parts are missing")


class PartStore:
    """Parts in ``folder``, at most ``most_bytes``: then those go that were used longest ago."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in folder.glob("*.new"):
            leftover.unlink(missing_ok=True)
        found = [(path.stat(), path.name) for path in folder.iterdir() if _is_part(path)]
        found.sort(key=lambda one: one[0].st_mtime)
        self._sizes = {name: stat.st_size for stat, name in found}  # the latest used stands last
        self._receiving = 0

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of ``digests`` that are not here; the others count as used now."""
        wanted = list(dict.fromkeys(digests))
        with self._lock:
            for digest in wanted:
                self._touch(digest)
            return [digest for digest in wanted if digest not in self._sizes]

    def add(self, part: Part, read: Callable[[int], bytes]) -> None:
        """Take a part in, ``read`` in pieces; raises ``DataError`` where it is another one."""
        if part.size > self._most:
            raise DataError(f"a part of {part.size} bytes is more than is kept here")
        with self._lock:
            self._make_room(part.size)
            self._receiving += part.size
        try:
            path = self._received(part, read)
            with self._lock:
                path.replace(self._folder / part.digest)
                self._sizes[part.digest] = part.size
        finally:
            with self._lock:
                self._receiving -= part.size

    def assemble(self, model: ModelFiles, folder: Path) -> Path:
        """Put the files of ``model`` into the new ``folder``; returns the path of its ONNX file.

        Raises ``MissingParts``, and ``DataError`` where a part is not what it was.
        """
        folder.mkdir()
        for name, parts in model.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for part in parts:
                    self.copy(part, file)
        return folder / model.main

    def copy(self, part: Part, file: BinaryIO) -> None:
        """Write a part to ``file``, compared with its digest once more.

        Raises ``MissingParts``, and ``DataError`` where it is not what it was.
        """
        digest, size = hashlib.sha256(), 0
        try:
            for piece in _pieces(self._folder / part.digest):
                digest.update(piece)
                file.write(piece)
                size += len(piece)
        except FileNotFoundError:
            self.forget(part.digest)
            raise MissingParts([part.digest]) from None
        if digest.hexdigest() != part.digest or size != part.size:
            self.forget(part.digest)
            raise DataError("a part that was kept is damaged; send it again")
        with self._lock:
            self._touch(part.digest)

    def size_of(self, digest: str) -> int:
        """Bytes of a part; raises ``MissingParts``."""
        with self._lock:
            if digest not in self._sizes:
                raise MissingParts([digest])
            return self._sizes[digest]

    def forget(self, digest: str) -> None:
        """Remove a part, if it is here."""
        with self._lock:
            self._sizes.pop(digest, None)
            (self._folder / digest).unlink(missing_ok=True)

    def _received(self, part: Part, read: Callable[[int], bytes]) -> Path:
        descriptor, name = tempfile.mkstemp(".new", dir=self._folder)
        try:
            digest, left = hashlib.sha256(), part.size
            with os.fdopen(descriptor, "wb") as file:
                while left:
                    piece = read(min(left, _CHUNK))
                    if not piece:
                        raise DataError("the part was cut off")
                    digest.update(piece)
                    file.write(piece)
                    left -= len(piece)
            if digest.hexdigest() != part.digest:
                raise DataError("the part is not what its digest says")
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    def _touch(self, digest: str) -> None:
        if digest in self._sizes:
            self._sizes[digest] = self._sizes.pop(digest)
            with suppress(OSError):
                os.utime(self._folder / digest)

    def _make_room(self, size: int) -> None:
        while self._sizes and sum(self._sizes.values()) + self._receiving + size > self._most:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            (self._folder / oldest).unlink(missing_ok=True)
        if self._receiving + size > self._most:
            raise DataError("too many parts are being sent at once")


def _is_part(path: Path) -> bool:
    return DIGEST.fullmatch(path.name) is not None and path.is_file()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
