"""What an output may replace: an ONNX file that the user names, or a folder all of which is ours.

Never what the same command reads, by whatever name or link it is reached.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtimes.errors import DataError
from runtimes.protobuf_fields import BYTES, VARINT, MalformedMessage, fields

Foreign = Callable[[Path], Iterable[str]]
"""Gives the files in a folder, by their paths in it, that kilnx did not write."""

Ours = Callable[[Path], bool]
"""Says of an existing file whether it is of the kind that is written, and may be replaced."""

_SHOWN = 5
# Fields of ModelProto by wire type. https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MODEL_FIELDS = {
    **dict.fromkeys((1, 5), VARINT),
    **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), BYTES),
}
_GRAPH, _OPSET = 7, 8


def refuse_existing(
    path: str | os.PathLike[str],
    *,
    force: bool,
    inputs: Iterable[Any] = (),
    foreign: Foreign | None = None,
    ours: Ours | None = None,
) -> Path:
    """Return ``path`` if an output may be written there.

    What exists there is the user's: without ``force`` it is a ``DataError``. With it, an ONNX file
    is replaced, or one that ``ours`` knows, and a folder in which ``foreign`` finds no file (by
    default every file is foreign).
    What the command reads, ``inputs`` (paths; anything else is passed over), is never replaced.
    A path whose parent is not a folder is refused as well.
    """
    path = Path(path)
    target = resolved(path)
    parent = target.parent if path.is_symlink() else path.parent
    if not target.parent.is_dir():
        raise DataError(f"cannot write {path}: {parent} is not a folder; create it first")
    if not os.path.lexists(target):
        return path
    sources = existing_paths(inputs)
    if target.is_dir():
        _refuse_folder(path, target, sources, force=force, foreign=foreign or all_files)
    else:
        _refuse_file(path, target, sources, force=force, ours=ours)
    return path


def resolved(path: Path) -> Path:
    """Where ``path`` leads: an output that is a link is written to what it points to."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a link to itself
        raise DataError(f"cannot write {path}: {error}") from error


def foreign_files(folder: Path, digests: Mapping[str, str]) -> Iterator[str]:
    """Yield the files in ``folder`` that are not those of ``digests``, by path and SHA-256."""
    for name in all_files(folder):
        path = folder / name
        if path.is_symlink() or not path.is_file() or digests.get(name) != file_digest(path):
            yield name


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in ``folder``, by its path in it."""
    return {name: file_digest(folder / name) for name in sorted(all_files(folder))}


def all_files(folder: Path) -> Iterator[str]:
    """Yield the path in ``folder`` of each file, link and empty folder."""
    for root, folders, files in os.walk(folder):
        inside = Path(root)
        links = [name for name in folders if (inside / name).is_symlink()]
        for name in sorted((*files, *links)):
            yield str((inside / name).relative_to(folder))
        if inside != folder and not files and not folders:
            yield f"{inside.relative_to(folder)}/"


def existing_paths(inputs: Iterable[Any]) -> list[Path]:
    """Those of ``inputs`` that are paths of something that exists."""
    paths = (Path(item) for item in inputs if isinstance(item, str | os.PathLike))
    return [path for path in paths if _stat(path) is not None]


def is_onnx_file(path: Path) -> bool:
    """Whether the file at ``path`` has the frame of an ONNX model, or is empty."""
    if not path.stat().st_size:
        return True  # nothing is lost with it
    with _mapped(path) as mapped, memoryview(mapped) as message:
        try:
            found = [(field.number, field.wire_type) for field in fields(message)]
        except MalformedMessage:
            return False
    known = all(_MODEL_FIELDS.get(number) == kind for number, kind in found)
    return known and {_GRAPH, _OPSET} <= {number for number, _ in found}


def mentions(path: Path, name: str) -> bool:
    """Whether the bytes of the file at ``path`` hold ``name``, as external data are named."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with _mapped(path) as mapped:
        return mapped.find(name.encode()) >= 0


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _refuse_file(
    path: Path, target: Path, sources: list[Path], *, force: bool, ours: Ours | None
) -> None:
    for source in sources:
        if _is_same(source, target) or (source.is_dir() and _is_inside(target, source)):
            raise DataError(
                f"{path} is read by this command, and an output never replaces an input; "
                "choose another output"
            )
    found = _stat(target)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path} is not an ordinary file; choose another output")
    if not (ours or is_onnx_file)(target):
        kind = "an ONNX model" if ours is None else "one that kilnx wrote"
        raise DataError(
            f"{path} is an existing file; choose another output: it is not {kind}, "
            "and --force replaces nothing else"
        )
    if not force:
        raise DataError(
            f"{path} is an existing file; choose another output or replace it with --force"
        )


def _refuse_folder(
    path: Path, target: Path, sources: list[Path], *, force: bool, foreign: Foreign
) -> None:
    if _is_inside(Path(), target):
        raise DataError(f"{path} is the current folder or holds it; choose a folder inside it")
    if not any(target.iterdir()):
        return
    for source in sources:
        if _is_inside(source, target):
            raise DataError(
                f"{path} holds {source}, which this command reads, and an output never replaces "
                "an input; choose another output"
            )
        if _is_inside(target, source):
            raise DataError(
                f"{path} is part of {source}, which this command reads; choose another output"
            )
    _refuse_linked(path, target, sources)
    found = list(itertools.islice(foreign(target), _SHOWN + 1))
    if found:
        listed = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise DataError(
            f"{path} is an existing folder that is not empty; choose another output: --force "
            f"replaces only what kilnx wrote, and there is {listed}"
        )
    if not force:
        raise DataError(
            f"{path} is an existing folder that is not empty; choose another output or replace "
            "it with --force"
        )


def _refuse_linked(path: Path, target: Path, sources: list[Path]) -> None:
    """Hard links: another name of an input may be in the folder."""
    files = {(s.st_dev, s.st_ino): source for source in sources if (s := _stat(source)) is not None}
    if not files:
        return
    for name in all_files(target):
        found = _stat(target / name)
        if found is not None and (found.st_dev, found.st_ino) in files:
            raise DataError(
                f"{path} holds {name}, which is {files[found.st_dev, found.st_ino]} that this "
                "command reads; choose another output"
            )


def _is_same(left: Path, right: Path) -> bool:
    one, other = _stat(left), _stat(right)
    return one is not None and other is not None and os.path.samestat(one, other)


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether ``path`` is ``folder`` or lies in it, links followed."""
    return resolved(path).is_relative_to(resolved(folder))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):  # ValueError: text that cannot be a path
        return None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
