"""A weight store: models in one folder whose equal weights are one file.

::

    store/resnet.onnx          a model that any ONNX Runtime opens, without kilnx
    store/weights/3f0c…        a weight: its bytes alone, called by their digest
    store/graphs/91ab…         what a model said besides what runs (layer names, shapes)
    store/kilnx-store.json     which models there are: the index, written last

A weight starts its file, so its place in memory is aligned to a page and ONNX Runtime maps it:
processes share it through the page cache. The index names files when they are on disk: a crash
leaves each model as it was, or as it was to be. What no model uses any more stays until it is
collected. The idea of addressing content by its digest is that of Git's objects and of Venti
(Quinlan and Dorward 2002).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import onnx_ir as ir

from runtimes.atomic_files import atomic_folder, refuse_existing
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_description,
    load_model,
    save_model,
)
from runtimes.onnx_files.tensor_bytes import byte_chunks, digest_of, new_digest
from runtimes.readable import ReadableReport
from runtimes.weight_store.collect import Collected, collect_store
from runtimes.weight_store.files import (
    in_use,
    make_folder,
    named_afterwards,
    only_writer,
    open_plain,
    write_whole,
)
from runtimes.weight_store.graph import WEIGHTS_FOLDER, put_together, stored_weights, take_apart
from runtimes.weight_store.index import (
    INDEX_NAME,
    Entry,
    check_name,
    read_index,
    read_whole_index,
    write_index,
)
from runtimes.weight_store.journal import change, settle
from runtimes.weight_store.stored import (
    GRAPHS_FOLDER,
    check_digest,
    load_runnable,
    store_bytes,
    weight_path,
)
from runtimes.weight_store.twins import Merge
from runtimes.weight_store.verify import StoreCheck, foreign_to_store, verify_store

__all__ = [
    "Added",
    "Collected",
    "StoreCheck",
    "StoreReport",
    "add_to_store",
    "collect_store",
    "create_store",
    "extract_model",
    "load_stored",
    "model_path",
    "remove_from_store",
    "store_bytes",
    "store_names",
    "verify_store",
]

T = TypeVar("T")

_HELD_BYTES = 1 << 28


@dataclass(frozen=True)
class Added:
    """A model that went into a store: bytes that its weights take, and those that were new.

    ``note``: why its twins were not merged, where that failed.
    """

    name: str
    weight_bytes: int
    new_bytes: int
    weights: int
    new_weights: int
    note: str = ""


@dataclass(frozen=True)
class StoreReport(ReadableReport):
    """What was added, and the bytes of the whole store after it."""

    store: str
    added: tuple[Added, ...]
    store_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self)

    def headline(self) -> str:
        """How large the store is now."""
        return f"{self.store}: {self.store_bytes:,} bytes in all"

    def rows(self) -> list[dict[str, str]]:
        """One row a model that was added."""
        return [
            {
                "model": model.name,
                "weights": f"{model.weights:,}",
                "bytes": f"{model.weight_bytes:,}",
                "new weights": f"{model.new_weights:,}",
                "new bytes": f"{model.new_bytes:,}",
            }
            for model in self.added
        ]


def create_store(
    folder: str | os.PathLike[str],
    models: Sequence[ModelSource],
    names: Sequence[str] | None = None,
    *,
    force: bool = False,
    merge: Merge | None = None,
) -> StoreReport:
    """Make a store at ``folder`` that holds ``models``; it appears whole or not at all.

    ``names``: what the models are called, by default as their files. ``merge``: lets the twins of
    a model be one weight, see ``runtimes.weight_store.twins``. Raises ``ModelError`` for a
    model that cannot be read, ``DataError`` for names that clash and outputs that exist.
    """
    named = _named(models, names)
    rules: dict[str, Any] = {"force": force, "inputs": models, "foreign": foreign_to_store}
    path = refuse_existing(folder, **rules)
    # Nobody adds to a store while another one takes its place.
    held = only_writer(path) if (path / INDEX_NAME).is_file() else nullcontext()
    with held, atomic_folder(folder, **rules) as work:
        write_index(work, {})
        report = _add(work, named, merge)
    return StoreReport(os.fspath(folder), report.added, report.store_bytes)


def add_to_store(
    folder: str | os.PathLike[str],
    models: Sequence[ModelSource],
    names: Sequence[str] | None = None,
    *,
    replace: bool = False,
    merge: Merge | None = None,
) -> StoreReport:
    """Add ``models`` to the store at ``folder``; all of them, or the store stays as it was.

    ``replace``: a model takes the place of one that has its name, and each of these does so in one
    step. Raises what ``create_store`` raises, ``ModelError`` where the store is damaged or newer
    than this kilnx, and ``DataError`` where another process writes to it.
    """
    folder = Path(folder)
    read_index(folder)
    named = _named(models, names)
    with only_writer(folder):
        return _add(folder, named, merge, replace=replace)


def remove_from_store(folder: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Remove models from the store at ``folder``; weights stay until ``collect_store``.

    Raises ``DataError`` for names that the store lacks, and where another process writes to it.
    """
    folder = Path(folder)
    read_index(folder)
    with only_writer(folder):
        models = settle(folder)
        for name in names:
            _entry(folder, name)
        change(folder, models, dict.fromkeys(names), {})


def extract_model(
    folder: str | os.PathLike[str],
    name: str,
    output: str | os.PathLike[str],
    *,
    force: bool = False,
) -> None:
    """Write the model ``name`` of a store as a file of its own, equal to what was added.

    Every weight, name, shape and note is what it was; all weights are inside the file (next to it
    where they exceed what a file holds). Raises ``DataError`` for a name that the store lacks and
    ``ModelError`` where a byte is not what was added.
    """
    read_index(Path(folder))
    with in_use(Path(folder) / WEIGHTS_FOLDER):
        save_model(load_stored(folder, name), output, force=force, inputs=(folder,))


def load_stored(folder: str | os.PathLike[str], name: str) -> ir.Model:
    """The model ``name`` as it was added, weights mapped; every byte checked first."""
    return _current(Path(folder), name, _load)


def model_path(folder: str | os.PathLike[str], name: str) -> Path:
    """The file of the model ``name``, which ONNX Runtime opens as it is."""
    return _current(Path(folder), name, _checked_path)


def _current(folder: Path, name: str, read: Callable[[Path, str, Entry], T]) -> T:
    """What ``read`` makes of a model, again where it was replaced meanwhile."""
    while True:
        index = read_whole_index(folder)
        try:
            return read(folder, name, _entry(folder, name))
        except ModelError:
            if read_whole_index(folder) == index:
                raise


def _load(folder: Path, name: str, entry: Entry) -> ir.Model:
    runs = load_runnable(folder, name, entry)
    for tensor in stored_weights(runs):
        path = weight_path(folder, tensor)
        check_digest(path, path.name, tensor.nbytes)
    described = folder / GRAPHS_FOLDER / entry.graph
    check_digest(described, entry.graph)
    return put_together(runs, load_description(described))


def _checked_path(folder: Path, name: str, entry: Entry) -> Path:
    check_digest(folder / f"{name}.onnx", entry.model)
    return folder / f"{name}.onnx"


def store_names(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """The models in the store at ``folder``."""
    return tuple(read_index(Path(folder)))


def _entry(folder: Path, name: str) -> Entry:
    index = read_index(folder)
    if name not in index:
        raise DataError(f"{folder} holds no model {name!r}; it holds {', '.join(index) or 'none'}")
    return index[name]


def _named(
    models: Sequence[ModelSource], names: Sequence[str] | None
) -> list[tuple[str, ModelSource]]:
    if names is None:
        names = [
            str(model.graph.name or "model") if isinstance(model, ir.Model) else Path(model).stem
            for model in models
        ]
    if len(names) != len(models):
        raise DataError(f"{len(models)} models were given, and {len(names)} names for them")
    for name in names:
        check_name(name)
    # Names that differ in case only are one file on some file systems.
    _refuse_twice([name.lower() for name in names])
    return list(zip(names, models, strict=True))


def _refuse_twice(names: Sequence[str]) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(f"two models would be called {twice!r} in the store; name them with --name")


def _add(
    folder: Path,
    named: Iterable[tuple[str, ModelSource]],
    merge: Merge | None,
    *,
    replace: bool = False,
) -> StoreReport:
    models = settle(folder)
    named = list(named)
    for name, _ in named:
        _refuse_taken(folder, name, models, replace=replace)
    for inner in (WEIGHTS_FOLDER, GRAPHS_FOLDER):
        make_folder(folder / inner)
    added, content, changes = [], {}, {}
    for name, source in named:
        counts = _Counts()
        merging = None if merge is None else partial(counts.merge, merge)
        runs, graph = take_apart(load_model(source), partial(counts.put, folder), merging)
        changes[name] = Entry(digest_of(iter([runs])), digest_of(iter([graph])))
        _write_once(folder / GRAPHS_FOLDER / changes[name].graph, graph)
        content[name] = runs
        added.append(counts.report(name))
    if changes:
        change(folder, models, changes, content)
    return StoreReport(str(folder), tuple(added), store_bytes(folder))


def _refuse_taken(folder: Path, name: str, models: Mapping[str, Entry], *, replace: bool) -> None:
    same = next((known for known in models if known.lower() == name.lower()), None)
    if same is not None and not (replace and same == name):
        raise DataError(
            f"{folder} holds a model {same!r} already; give the new one another name (--name), or "
            "let it take the place of that one (--force)"
        )


class _Counts:
    """Puts the weights of one model into a store and counts them."""

    def __init__(self) -> None:
        self.sizes: dict[str, tuple[int, bool]] = {}
        self.note = ""

    def merge(self, merge: Merge, model: ir.Model) -> str:
        self.note = merge(model)
        return self.note

    def put(self, folder: Path, tensor: ir.TensorProtocol) -> str:
        digest, new = _put_weight(folder / WEIGHTS_FOLDER, tensor)
        self.sizes.setdefault(digest, (tensor.nbytes, new))
        return digest

    def report(self, name: str) -> Added:
        new = [size for size, is_new in self.sizes.values() if is_new]
        total = sum(size for size, _ in self.sizes.values())
        return Added(name, total, sum(new), len(self.sizes), len(new), self.note)


def _put_weight(folder: Path, tensor: ir.TensorProtocol) -> tuple[str, bool]:
    """Store a weight unless it is there; its digest, and whether it is new."""
    # Read once, unless it is too large to be kept meanwhile: then for each purpose anew.
    held = list(byte_chunks(tensor)) if tensor.nbytes <= _HELD_BYTES else None
    digest = digest_of(iter(held) if held is not None else byte_chunks(tensor))
    chunks = iter(held) if held is not None else byte_chunks(tensor)
    path = folder / digest
    if path.exists() or path.is_symlink():
        # One digest is not yet one content: what is there may have been damaged.
        with open_plain(path) as file:
            if not _same(chunks, file):
                raise ModelError(
                    f"{path} is damaged: its bytes are not those that it is called by; find what "
                    "else is with: kilnx dedupe --verify"
                )
        return digest, False
    with named_afterwards(folder) as (file, give_name):
        again = None if held is not None else new_digest()
        for chunk in chunks:
            if again is not None:
                again.update(chunk)
            file.write(chunk)
        if again is not None and again.hexdigest() != digest:
            raise ModelError(f"the weights {tensor.name!r} changed while they were read")
        give_name(path)
    return digest, True


def _same(chunks: Iterator[bytes | memoryview], file: Any) -> bool:
    for chunk in chunks:
        left = memoryview(chunk)
        while left:
            piece = file.read(len(left))
            if not piece or left[: len(piece)] != piece:
                return False
            left = left[len(piece) :]
    return not file.read(1)


def _write_once(path: Path, raw: bytes) -> None:
    """Write a file that is called by its digest, unless it is there."""
    if path.exists() or path.is_symlink():
        with open_plain(path) as file:
            if _same(iter([raw]), file):
                return
        raise ModelError(f"{path} is damaged: its bytes are not those that it is called by")
    write_whole(path, [raw])
