"""Whether the bytes of a weight store are what was stored, and whether all in it is its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtimes.atomic_files import all_files
from runtimes.errors import KilnxError
from runtimes.readable import ReadableReport
from runtimes.weight_store.files import TEMPORARY_PREFIX
from runtimes.weight_store.graph import WEIGHTS_FOLDER, stored_weights
from runtimes.weight_store.index import INDEX_NAME, read_index
from runtimes.weight_store.stored import (
    GRAPHS_FOLDER,
    check_digest,
    load_runnable,
    store_files,
    weight_path,
)


@dataclass(frozen=True)
class StoreCheck(ReadableReport):
    """What ``verify_store`` found: ``problems`` as sentences, files that no model uses."""

    models: tuple[str, ...]
    weights: int
    weight_bytes: int
    problems: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every byte that a model needs is what it was."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The findings as plain values, for JSON."""
        return {**asdict(self), "passed": self.passed}

    def headline(self) -> str:
        """What is in the store, and whether it is whole."""
        verdict = "every byte is what was stored"
        if not self.passed:
            verdict = f"{len(self.problems)} problems"
        return (
            f"{len(self.models)} models, {self.weights} weights, {self.weight_bytes:,} bytes; "
            f"{verdict}"
        )


def verify_store(folder: str | os.PathLike[str]) -> StoreCheck:
    """Read every byte of the store at ``folder`` again and compare it with its digest.

    Never raises for damage to a model or weight: that is what it reports. A store whose index
    cannot be read is ``ModelError``.
    """
    folder = Path(folder)
    index = read_index(folder)
    problems: dict[str, None] = {}
    needed: dict[Path, int | None] = {}
    for name, entry in index.items():
        needed[folder / f"{name}.onnx"] = None
        needed[folder / GRAPHS_FOLDER / entry.graph] = None
        try:
            model = load_runnable(folder, name, entry)
            needed.update((weight_path(folder, t), t.nbytes) for t in stored_weights(model))
            check_digest(folder / GRAPHS_FOLDER / entry.graph, entry.graph)
        except KilnxError as error:
            problems[str(error)] = None
    weights = {path: size for path, size in needed.items() if size is not None}
    for path, size in weights.items():
        try:
            check_digest(path, path.name, size)
        except KilnxError as error:
            problems[str(error)] = None
    unused = sorted(
        str(path.relative_to(folder))
        for path in store_files(folder)
        if path not in needed and path.name != INDEX_NAME
    )
    sizes = [size for size in weights.values() if size is not None]
    return StoreCheck(tuple(index), len(weights), sum(sizes), tuple(problems), tuple(unused))


def foreign_to_store(folder: Path) -> Iterator[str]:
    """Yield the files in ``folder`` that no store put there; all of them if it is none, or damaged.

    What an addition that died left behind is the store's own.
    """
    try:
        check = verify_store(folder)
    except (KilnxError, OSError):
        yield from all_files(folder)
        return
    if not check.passed:
        yield from all_files(folder)
        return
    yield from (name for name in check.unused if not is_left_over(folder / name))


def is_left_over(path: Path) -> bool:
    """Whether a store wrote what no model uses: its name is its digest, or a temporary one."""
    if path.is_symlink() or not path.is_file():
        return False
    if path.name.startswith(TEMPORARY_PREFIX):
        return True
    try:
        check_digest(path, path.name)
    except KilnxError:
        return False
    return path.parent.name in {WEIGHTS_FOLDER, GRAPHS_FOLDER}
