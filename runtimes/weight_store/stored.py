"""What lies in a weight store: where the files of a model are, and that they are as stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import load_graph
from runtimes.onnx_files.tensor_bytes import CHUNK_BYTES, digest_of
from runtimes.weight_store.files import check_folder, open_plain
from runtimes.weight_store.graph import WEIGHTS_FOLDER, stored_weights
from runtimes.weight_store.index import Entry, is_digest

GRAPHS_FOLDER = "graphs"
"""Where in a store the descriptions of its models are, called by their digests."""


def load_runnable(folder: Path, name: str, entry: Entry) -> ir.Model:
    """The file that runs, checked by its digest and for weights that are not the store's own."""
    path = folder / f"{name}.onnx"
    check_digest(path, entry.model)
    for inner in (WEIGHTS_FOLDER, GRAPHS_FOLDER):
        check_folder(folder / inner)
    model = load_graph(path)
    for tensor in stored_weights(model):
        weight_path(folder, tensor)
    return model


def weight_path(folder: Path, tensor: ir.ExternalTensor) -> Path:
    """The file of a stored weight; ``ModelError`` for one that lies elsewhere."""
    location = str(tensor.location)
    start, _, digest = location.partition("/")
    if start != WEIGHTS_FOLDER or not is_digest(digest) or tensor.offset:
        raise ModelError(f"the weights {tensor.name!r} are at {location!r}, outside the store")
    return folder / WEIGHTS_FOLDER / digest


def check_digest(path: Path, digest: str, size: int | None = None) -> None:
    """Raise ``ModelError`` unless the file has this digest, and this size where one is given."""
    with open_plain(path) as file:
        found = os.fstat(file.fileno()).st_size
        if size is not None and found != size:
            raise ModelError(f"{path} is damaged: it holds {found} bytes instead of {size}")
        if digest_of(iter(lambda: file.read(CHUNK_BYTES), b"")) != digest:
            raise ModelError(f"{path} is damaged: its bytes are not what was stored")


def store_bytes(folder: str | os.PathLike[str]) -> int:
    """Bytes of all files in the store."""
    return sum(path.lstat().st_size for path in store_files(Path(folder)))


def store_files(folder: Path) -> Iterator[Path]:
    """Yield what lies in a store and in its folders."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from path.iterdir()
        else:
            yield path
