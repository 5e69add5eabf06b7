"""Where models lie: paths given by name, and a repository of them.

A path is an ONNX file, a bundle (a ``.kilnx`` file or a folder), a folder that ``kilnx compress``
or ``kilnx partition`` wrote, or a folder whose subfolders are versions, each with any of these.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.errors import DataError

MANIFEST = "kilnx-bundle.json"
MODEL = "model.onnx"
STAGES = "stages.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError)
_LARGEST_MANIFEST = 1 << 24


@dataclass(frozen=True)
class Source:
    """One version of a model, and where it lies."""

    name: str
    version: str
    path: Path

    @property
    def is_bundle(self) -> bool:
        """Whether it is a bundle, which tells what it has to be."""
        return is_bundle(self.path)

    def state(self) -> tuple[tuple[str, int, int, int], ...]:
        """What changes whenever a file of it does: names, times, sizes and inodes."""
        files = sorted(self.path.rglob("*")) if self.path.is_dir() else [self.path]
        found = []
        for file in files:
            with suppress(OSError):
                told = file.stat()
                found.append((str(file), told.st_mtime_ns, told.st_size, told.st_ino))
        return tuple(found)


@dataclass(frozen=True)
class Sources:
    """All places that a server was told to look at; they are looked at anew each time."""

    models: tuple[str, ...]
    repository: Path | None

    def find(self) -> dict[str, list[Source]]:
        """All versions of all models, by name; raises ``DataError`` for a path without any."""
        found: dict[str, list[Source]] = {}
        for source in self._all():
            same = found.setdefault(source.name, [])
            if any(other.version == source.version for other in same):
                raise DataError(
                    f"two models are called {source.name!r} version {source.version}; give one "
                    "another name with NAME=PATH"
                )
            same.append(source)
        return found

    def _all(self) -> Iterator[Source]:
        for given in self.models:
            name, path = _split(given)
            if not path.exists():
                raise DataError(f"{path}: no such file or folder")
            yield from _versions(name, path)
        if self.repository is not None:
            yield from _repository(self.repository)


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle, by its name or by its manifest."""
    return path.suffix == ".kilnx" or (path / MANIFEST).is_file()


def choose_versions(sources: Sequence[Source], policy: str) -> list[Source]:
    """The versions that ``policy`` wants: ``latest``, ``latest:N``, ``all``, or ``1,3``."""
    ordered = sorted(sources, key=lambda source: version_order(source.version))
    if policy == "all":
        return ordered
    kind, _, count = policy.partition(":")
    if kind == "latest" and (not count or (count.isdigit() and int(count))):
        return ordered[-int(count or 1) :]
    wanted = [version.strip() for version in policy.split(",")]
    if kind == "latest" or not all(wanted):
        raise DataError(
            f"the versions {policy!r} are none of latest, latest:N, all, or a list such as 1,3"
        )
    return [source for source in ordered if source.version in wanted]


def version_order(version: str) -> list[tuple[int, int, str]]:
    """A key that puts 10 after 9, and 1.10 after 1.9."""
    parts = re.findall(r"\d+|[^\d]+", version)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _split(given: str) -> tuple[str | None, Path]:
    name, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        return None, Path(given)
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name!r} is no name for a model; letters, digits, dots, dashes and underscores are"
        )
    return name, Path(path)


def _versions(name: str | None, path: Path) -> Iterator[Source]:
    """What lies at ``path``: one version, or a folder of them."""
    if is_bundle(path):
        told = _manifest(path)
        yield Source(name or str(told.get("name")), str(told.get("version", "1")), path)
    elif path.is_file():
        yield Source(name or _safe(path.stem), "1", path)
    elif any((path / name).is_file() for name in (MODEL, STAGES)):
        yield Source(name or _safe(path.resolve().name), "1", path)
    else:
        numbered = [one for one in sorted(path.iterdir()) if one.name.isdigit() and one.is_dir()]
        if not numbered:
            raise DataError(
                f"{path} holds no {MODEL}, no {STAGES}, no {MANIFEST} and no versions such as "
                f"1/{MODEL}"
            )
        for one in numbered:
            yield Source(name or _safe(path.resolve().name), one.name, _inside(one))


def _repository(folder: Path) -> Iterator[Source]:
    if not folder.is_dir():
        raise DataError(f"the repository {folder} is no folder")
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() or entry.suffix in (".onnx", ".kilnx"):
            with suppress(DataError):  # a folder of something else
                yield from _versions(entry.stem if entry.is_file() else entry.name, entry)


def _inside(folder: Path) -> Path:
    """A version's folder, or the one bundle in it."""
    bundles = sorted(folder.glob("*.kilnx"))
    return bundles[0] if len(bundles) == 1 and not (folder / MODEL).is_file() else folder


def _manifest(path: Path) -> Mapping[str, Any]:
    """What a bundle calls itself; it is verified when it is loaded."""
    try:
        if path.is_dir():
            raw = (path / MANIFEST).read_bytes()
        else:
            with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as file:
                raw = file.read(_LARGEST_MANIFEST)
        told = json.loads(raw)
        if not (isinstance(told, dict) and _NAME.fullmatch(str(told.get("name")))):
            raise ValueError("it names no model")
    # RuntimeError: what is encrypted, compressed in an unknown way, or nested too deeply.
    except (OSError, ValueError, KeyError, RuntimeError, *_DAMAGED) as error:
        raise DataError(
            f"{path} is no bundle: {error}; one is made with: kilnx package FOLDER -o NAME.kilnx"
        ) from error
    return told


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip("._-") or "model"
