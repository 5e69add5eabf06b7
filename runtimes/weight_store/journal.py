"""How models of a store come, are replaced and go, so that a crash leaves each old or new.

The index first says what is about to change, then the files change, then the index says what is.
A process that dies in between leaves an index with open changes: a model that was to be replaced
is what its file is, one that was to be added is not there, nor one that was to go. Whoever writes
next brings that to its end. (The order is that of a write-ahead log: Gray and Reuter 1993.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtimes.errors import DataError
from runtimes.weight_store.files import sync_folder, write_whole
from runtimes.weight_store.index import (
    Changes,
    Entry,
    file_digest,
    read_index,
    read_whole_index,
    write_index,
)


def settle(folder: Path) -> dict[str, Entry]:
    """The models of a store that this process alone writes to, its last change brought to an end.

    Raises what ``read_index`` raises.
    """
    index = read_whole_index(folder)
    models = dict(read_index(folder))
    if index.changing:
        for name, becomes in index.changing.items():
            if name not in models:
                _remove(folder, name, (index.models.get(name), becomes))
        write_index(folder, models)
    return models


def change(
    folder: Path, models: Mapping[str, Entry], changes: Changes, content: Mapping[str, bytes]
) -> None:
    """Change the ``models`` of a settled store; ``content`` is what files are to hold, by name.

    What the files need has to be in the store already. Raises ``DataError`` for a new model where
    somebody else's file has its name.
    """
    for name in content:
        if name not in models:
            _refuse_foreign(folder / f"{name}.onnx", changes[name])
    write_index(folder, models, changes)
    after = dict(models)
    for name, becomes in changes.items():
        if becomes is None:
            _remove(folder, name, (models[name],))
            del after[name]
        else:
            write_whole(folder / f"{name}.onnx", [content[name]])
            after[name] = becomes
    write_index(folder, after)


def _remove(folder: Path, name: str, ours: tuple[Entry | None, ...]) -> None:
    """Remove the file of a model, unless it is another one that somebody put there."""
    path = folder / f"{name}.onnx"
    if file_digest(path) in {entry.model for entry in ours if entry is not None}:
        path.unlink()
        sync_folder(folder)


def _refuse_foreign(path: Path, becomes: Entry | None) -> None:
    if becomes is not None and file_digest(path) not in (None, becomes.model):
        raise DataError(
            f"{path} is there already, and no model of the store: move it away, or give the new "
            "model another name (--name)"
        )
