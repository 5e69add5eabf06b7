"""A weight store: models in one folder whose equal weights are one file.

::

    store/resnet.onnx          a model that any ONNX Runtime opens, without kilnx
    store/weights/3f0c…        a weight: its bytes alone, called by their digest
    store/graphs/91ab…         what a model said beside what runs (layer names, shapes)
    store/kilnx-store.json     which models there are: the index, written last

A weight starts its file, so its place in memory is aligned to a page and ONNX Runtime maps it:
processes share it through the page cache. Files only ever get added, and the index names them
when they are on disk: a crash leaves the old store. The idea of addressing content by its digest
is that of Git's objects and of Venti (Quinlan and Dorward 2002).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from runtimes.atomic_files import atomic_folder, refuse_existing
from runtimes.errors import DataError, KilnxError, ModelError
from runtimes.onnx_files.load_save import ModelSource, load_model, save_model
from runtimes.onnx_files.tensor_bytes import CHUNK_BYTES, byte_chunks, digest_of, new_digest
from runtimes.readable import ReadableReport
from runtimes.weight_store.files import (
    check_folder,
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
    is_digest,
    read_index,
    write_index,
)

_GRAPHS_FOLDER = "graphs"
_HELD_BYTES = 1 << 28


@dataclass(frozen=True)
class Added:
    """A model that went into a store: bytes that its weights take, and those that were new."""

    name: str
    weight_bytes: int
    new_bytes: int
    weights: int
    new_weights: int


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


def create_store(
    folder: str | os.PathLike[str],
    models: Sequence[ModelSource],
    names: Sequence[str] | None = None,
    *,
    force: bool = False,
) -> StoreReport:
    """Make a store at ``folder`` that holds ``models``; it appears whole or not at all.

    ``names``: what the models are called, by default as their files. Raises ``ModelError`` for a
    model that cannot be read, ``DataError`` for names that clash and outputs that exist.
    """
    named = _named(models, names)
    refuse_existing(folder, force=force)
    with atomic_folder(folder, force=force) as work:
        write_index(work, {})
        report = _add(work, named)
        # The folder is renamed as a whole: its files have to be on disk before it.
    return StoreReport(os.fspath(folder), report.added, report.store_bytes)


def add_to_store(
    folder: str | os.PathLike[str],
    models: Sequence[ModelSource],
    names: Sequence[str] | None = None,
) -> StoreReport:
    """Add ``models`` to the store at ``folder``; all of them, or the store stays as it was.

    Raises what ``create_store`` raises, ``ModelError`` where the store is damaged or newer than
    this kilnx, and ``DataError`` where another process writes to it.
    """
    folder = Path(folder)
    read_index(folder)
    named = _named(models, names)
    with only_writer(folder):
        return _add(folder, named)


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
        needed[folder / _GRAPHS_FOLDER / entry.graph] = None
        try:
            model = _load(folder, name, entry)
            needed.update((_weight_path(folder, t), t.nbytes) for t in stored_weights(model))
            _check_digest(folder / _GRAPHS_FOLDER / entry.graph, entry.graph)
        except KilnxError as error:
            problems[str(error)] = None
    weights = {path: size for path, size in needed.items() if size is not None}
    for path, size in weights.items():
        try:
            _check_digest(path, path.name, size)
        except KilnxError as error:
            problems[str(error)] = None
    unused = sorted(
        str(path.relative_to(folder))
        for path in _files(folder)
        if path not in needed and path.name != INDEX_NAME
    )
    sizes = [size for size in weights.values() if size is not None]
    return StoreCheck(tuple(index), len(weights), sum(sizes), tuple(problems), tuple(unused))


def extract_model(
    folder: str | os.PathLike[str],
    name: str,
    output: str | os.PathLike[str],
    *,
    force: bool = False,
) -> None:
    """Write the model ``name`` of a store as a file of its own, equal to what was added.

    Every weight, name, shape and note is what it was; all weights are inside the file (beside it
    where they exceed what a file holds). Raises ``DataError`` for a name that the store lacks and
    ``ModelError`` where a byte is not what was added.
    """
    save_model(load_stored(folder, name), output, force=force)


def load_stored(folder: str | os.PathLike[str], name: str) -> ir.Model:
    """The model ``name`` as it was added, weights mapped; every byte checked first."""
    folder = Path(folder)
    entry = _entry(folder, name)
    runs = _load(folder, name, entry)
    for tensor in stored_weights(runs):
        path = _weight_path(folder, tensor)
        _check_digest(path, path.name, tensor.nbytes)
    described = folder / _GRAPHS_FOLDER / entry.graph
    _check_digest(described, entry.graph)
    return put_together(runs, ir.load(described, format="protobuf"))


def model_path(folder: str | os.PathLike[str], name: str) -> Path:
    """The file of the model ``name``, which ONNX Runtime opens as it is."""
    folder = Path(folder)
    _check_digest(folder / f"{name}.onnx", _entry(folder, name).model)
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


def _add(folder: Path, named: Iterable[tuple[str, ModelSource]]) -> StoreReport:
    models = dict(read_index(folder))
    taken = {name.lower() for name in models}
    named = list(named)
    for name, _ in named:
        if name.lower() in taken:
            raise DataError(
                f"{folder} holds a model {name!r} already; give the new one another name (--name)"
            )
    for inner in (WEIGHTS_FOLDER, _GRAPHS_FOLDER):
        make_folder(folder / inner)
    added = []
    for name, source in named:
        counts = _Counts()
        runs, graph = take_apart(load_model(source), lambda t, c=counts: c.put(folder, t))  # type: ignore[misc]
        entry = Entry(digest_of(iter([runs])), digest_of(iter([graph])))
        _write_once(folder / _GRAPHS_FOLDER / entry.graph, graph)
        _write_once(folder / f"{name}.onnx", runs)
        models[name] = entry
        added.append(counts.report(name))
    write_index(folder, models)
    return StoreReport(str(folder), tuple(added), store_bytes(folder))


class _Counts:
    """Puts the weights of one model into a store and counts them."""

    def __init__(self) -> None:
        self.sizes: dict[str, tuple[int, bool]] = {}

    def put(self, folder: Path, tensor: ir.TensorProtocol) -> str:
        digest, new = _put_weight(folder / WEIGHTS_FOLDER, tensor)
        self.sizes.setdefault(digest, (tensor.nbytes, new))
        return digest

    def report(self, name: str) -> Added:
        new = [size for size, is_new in self.sizes.values() if is_new]
        total = sum(size for size, _ in self.sizes.values())
        return Added(name, total, sum(new), len(self.sizes), len(new))


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
    """Write a file that the index does not name yet; one that is there has to be the same."""
    if path.exists() or path.is_symlink():
        with open_plain(path) as file:
            if _same(iter([raw]), file):
                return
        raise DataError(
            f"{path} is there already, and no model of the store: move it away, or give the new "
            "model another name (--name)"
        )
    write_whole(path, [raw])


def _load(folder: Path, name: str, entry: Entry) -> ir.Model:
    """The file that runs, checked by its digest and for weights that are not the store's own."""
    path = folder / f"{name}.onnx"
    _check_digest(path, entry.model)
    for inner in (WEIGHTS_FOLDER, _GRAPHS_FOLDER):
        check_folder(folder / inner)
    model = load_model(path)
    for tensor in stored_weights(model):
        _weight_path(folder, tensor)
    return model


def _weight_path(folder: Path, tensor: ir.ExternalTensor) -> Path:
    location = str(tensor.location)
    start, _, digest = location.partition("/")
    if start != WEIGHTS_FOLDER or not is_digest(digest) or tensor.offset:
        raise ModelError(f"the weights {tensor.name!r} are at {location!r}, outside the store")
    return folder / WEIGHTS_FOLDER / digest


def _check_digest(path: Path, digest: str, size: int | None = None) -> None:
    with open_plain(path) as file:
        found = os.fstat(file.fileno()).st_size
        if size is not None and found != size:
            raise ModelError(f"{path} is damaged: it holds {found} bytes instead of {size}")
        if digest_of(iter(lambda: file.read(CHUNK_BYTES), b"")) != digest:
            raise ModelError(f"{path} is damaged: its bytes are not what was stored")


def store_bytes(folder: str | os.PathLike[str]) -> int:
    """Bytes of all files in the store."""
    return sum(path.lstat().st_size for path in _files(Path(folder)))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from path.iterdir()
        else:
            yield path
