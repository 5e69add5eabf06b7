"""The files of a push: parts that arrived, and the bundle that is put together of all.

Parts wait in a folder of the repository that its models are not looked for in, so that a push goes
on where it stopped, also after the server was started anew. They go when the bundle is there, or
when others need the room. The bundle has no name in the repository before it is proven.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes.agent.messages import Part
from runtimes.agent.store import MissingParts, PartStore
from runtimes.agent.typed_json import Malformed
from runtimes.bundle.archive import in_order
from runtimes.bundle.bundle import Bundle
from runtimes.bundle.file_names import MANIFEST, SIGNATURE, SUFFIX
from runtimes.bundle.sinks import ArchiveSink
from runtimes.errors import DataError
from runtimes.serving.push.catalogue import Catalogue, Place
from runtimes.serving.push.recipe import LARGEST_RECIPE, Recipe, digest_of
from runtimes.serving.sources import Source

FOLDER = ".pushes"
"""Where in a repository parts wait."""


@dataclass(frozen=True)
class Assembled:
    """A bundle that is whole, and called nothing yet."""

    path: Path
    name: str
    version: str


class Receiver:
    """What was received of pushes, in ``repository``; ``most_bytes`` at most of it waits.

    ``sources``: the models whose parts need not be sent. ``keys``: public keys, of which the owner
    of one has to have signed what is pushed; without any, nothing is verified. It may be called in
    any thread, one call at a time for each push.
    """

    def __init__(
        self,
        repository: Path,
        most_bytes: int,
        sources: Callable[[], Iterable[Source]],
        keys: tuple[str, ...] = (),
    ) -> None:
        self._repository, self._most, self._keys = repository, most_bytes, keys
        self._folder = repository / FOLDER
        self._catalogue = Catalogue(sources)
        self._store: PartStore | None = None

    def plan(self, raw: bytes) -> list[int]:
        """Keep the recipe of a push; the numbers of the parts that it lacks.

        Raises ``Malformed``, and ``DataError`` where there is no room for it, or it is not signed
        where it has to be.
        """
        if len(raw) > LARGEST_RECIPE:
            raise Malformed("the recipe is larger than a recipe may be")
        recipe = Recipe.of(raw)
        if MANIFEST not in recipe.files:
            raise Malformed("the recipe lacks the bundle's manifest")
        if self._keys and SIGNATURE not in recipe.files:
            raise DataError(
                "the bundle is not signed, and this server takes only what the owner of a key that "
                "it knows signed (--verify); sign it with: kilnx package --sign"
            )
        missing = self.missing(recipe)
        coming = sum(recipe.parts[number].size for number in missing)
        if max(recipe.size, coming + len(raw)) > self._most:
            raise DataError(
                f"the bundle has {recipe.size:,} bytes, and this server takes {self._most:,} "
                "(--max-push)"
            )
        self._require_room(recipe.size + coming)
        self._parts.add(Part(digest_of(raw), len(raw)), io.BytesIO(raw).read)
        return missing

    def recipe(self, push: str) -> Recipe:
        """The recipe of a push; raises ``MissingParts`` where it is not here, or no more."""
        return Recipe.of(self._kept(Part(push, self._parts.size_of(push))))

    def missing(self, recipe: Recipe) -> list[int]:
        """The numbers of the parts that are nowhere here."""
        have = self._catalogue.find()
        wanted = [part.digest for part in recipe.parts if part.digest not in have]
        lacking = set(self._parts.missing(wanted))
        return [number for number, part in enumerate(recipe.parts) if part.digest in lacking]

    def take(self, recipe: Recipe, numbers: Sequence[int], body: bytes) -> None:
        """Keep parts, one after the other in ``body``; raises ``DataError`` for other ones."""
        parts = [recipe.parts[number] for number in numbers]
        if sum(part.size for part in parts) != len(body):
            raise DataError("the parts have other sizes than the recipe says")
        stream = io.BytesIO(body)
        for part in parts:
            self._parts.add(part, stream.read)

    def assemble(self, push: str) -> Assembled:
        """Put the bundle of a push together, and verify it.

        Raises ``MissingParts`` where parts are not here or not what they were, ``BundleError``
        where it is no bundle, or not signed by whom it has to be.
        """
        recipe = self.recipe(push)
        self._require_room(recipe.size)
        have = self._catalogue.find()
        path = self._folder / f"{push[:16]}{SUFFIX}"
        try:
            with path.open("wb") as file:
                sink = ArchiveSink(file)
                for name in sorted(recipe.files, key=in_order):
                    parts = recipe.files[name]
                    size = sum(part.size for part in parts)
                    sink.add_pieces(name, size, self._content(parts, have))
                sink.close()
                file.flush()
                os.fsync(file.fileno())
            with Bundle.open(path, public_key=self._keys or None) as bundle:
                return Assembled(path, bundle.name, bundle.version)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def place_of(self, name: str) -> Path:
        """Where a bundle of this name goes."""
        return self._repository / f"{name}{SUFFIX}"

    def put(self, bundle: Assembled) -> Path:
        """Give a bundle its name, in place of the one that has it; its path then."""
        path = self.place_of(bundle.name)
        bundle.path.replace(path)
        descriptor = os.open(self._repository, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return path

    def forget(self, push: str) -> None:
        """Remove what waited for a push that is done."""
        for digest in (push, *(part.digest for part in self.recipe(push).parts)):
            self._parts.forget(digest)

    def _content(self, parts: Iterable[Part], have: dict[str, Place]) -> Iterator[bytes]:
        for part in parts:
            place = have.get(part.digest)
            content = None if place is None else _read(place)
            if content is None or Part(digest_of(content), len(content)) != part:
                if content is not None:
                    self._catalogue.forget()  # a file changed, and looked as if it had not
                content = self._kept(part)
            yield content

    def _kept(self, part: Part) -> bytes:
        kept = io.BytesIO()
        try:
            self._parts.copy(part, kept)
        except DataError as error:  # it is damaged, and forgotten now
            raise MissingParts([part.digest]) from error
        return kept.getvalue()

    @property
    def _parts(self) -> PartStore:
        """Made when it is needed first: a server that nobody pushes to leaves no folder."""
        if self._store is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._folder.glob(f"*{SUFFIX}"):
                left.unlink()
            self._store = PartStore(self._folder / "parts", self._most)
        return self._store

    def _require_room(self, size: int) -> None:
        free = shutil.disk_usage(self._repository).free
        if free < size:
            raise DataError(
                f"the bundle needs {size:,} bytes on the server's disk, and {free:,} are free"
            )


def _read(place: Place) -> bytes | None:
    """The bytes of a place; None where the file is gone or shorter now."""
    try:
        with place.path.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.size)
    except OSError:
        return None


__all__ = ["FOLDER", "Assembled", "MissingParts", "Receiver"]
