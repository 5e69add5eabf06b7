"""Which parts a server has already: those of the models that lie where it looks for models."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtimes.bundle.archive import open_archive
from runtimes.errors import KilnxError
from runtimes.onnx_files.streaming import locations_in
from runtimes.protobuf_fields import MalformedMessage
from runtimes.serving.push.cut import cut
from runtimes.serving.push.recipe import digest_of
from runtimes.serving.sources import Source

_MOST_FILES = 10_000
_State = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Place:
    """Bytes of a file."""

    path: Path
    offset: int
    size: int


class Catalogue:
    """Places of parts by their digests, looked up anew where files changed.

    A place is a hint: who reads it compares the digest.
    """

    def __init__(self, sources: Callable[[], Iterable[Source]]) -> None:
        self._sources = sources
        self._known: dict[_State, dict[str, Place]] = {}

    def find(self) -> dict[str, Place]:
        """All places; reads every file that is new or changed since the last call."""
        known: dict[_State, dict[str, Place]] = {}
        for source in self._sources():
            state = source.state()
            known[state] = self._known.get(state) or dict(_parts(source))
        self._known = known
        return {digest: place for places in known.values() for digest, place in places.items()}

    def forget(self) -> None:
        """Read everything anew next time."""
        self._known.clear()


def mapped(path: Path) -> memoryview:
    """The bytes of a file, which are not read before somebody looks."""
    if not path.stat().st_size:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _parts(source: Source) -> Iterator[tuple[str, Place]]:
    """What cannot be read is passed over: nobody is served from here."""
    with suppress(OSError, KilnxError, MalformedMessage):
        files = dict(_files(source.path))
        content = {
            name: mapped(place.path)[place.offset : place.offset + place.size]
            for name, place in files.items()
        }
        for name, spans in cut(content).items():
            place = files[name]
            for start, stop in spans:
                digest = digest_of(content[name][start:stop])
                yield digest, Place(place.path, place.offset + start, stop - start)


def _files(path: Path) -> Iterator[tuple[str, Place]]:
    """The files of a model: of an archive, of a folder, or one by itself."""
    if path.suffix == ".kilnx" and path.is_file():
        with path.open("rb") as archive:
            entries = open_archive(archive, path)
        for name, entry in entries.items():
            yield name, Place(path, entry.content, entry.size)
    elif path.is_file():
        for name in sorted({path.name, *locations_in(path)}):
            one = path.parent / name
            yield name, Place(one, 0, one.stat().st_size)
    else:
        inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
        for one in inside[:_MOST_FILES]:
            yield one.relative_to(path).as_posix(), Place(one, 0, one.stat().st_size)
