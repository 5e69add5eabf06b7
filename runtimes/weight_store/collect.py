"""What no model of a store uses any more is removed: weights and descriptions, nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtimes.errors import KilnxError
from runtimes.onnx_files.load_save import load_graph
from runtimes.readable import ReadableReport
from runtimes.weight_store.files import only_user, only_writer
from runtimes.weight_store.graph import WEIGHTS_FOLDER, stored_weights
from runtimes.weight_store.index import read_index
from runtimes.weight_store.journal import settle
from runtimes.weight_store.stored import GRAPHS_FOLDER, load_runnable, weight_path
from runtimes.weight_store.verify import is_left_over


@dataclass(frozen=True)
class Collected(ReadableReport):
    """Files that were removed from a store, and their bytes.

    ``kept``: models in the folder that are none of the store's, whose weights were kept, too.
    """

    store: str
    removed: tuple[str, ...]
    removed_bytes: int
    kept: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self)

    def headline(self) -> str:
        """How much room there is now."""
        return (
            f"{self.store}: {len(self.removed)} files that no model uses are gone, "
            f"{self.removed_bytes:,} bytes"
        )


def collect_store(folder: str | os.PathLike[str]) -> Collected:
    """Remove the weights and descriptions that no model of the store at ``folder`` uses.

    Sessions that are open keep what they have mapped. Raises ``ModelError`` where a model of the
    store is damaged, since it cannot be said then what it uses, and ``DataError`` where another
    process writes to the store or reads models from it; nothing is removed then.
    """
    folder = Path(folder)
    read_index(folder)
    with only_writer(folder), only_user(folder / WEIGHTS_FOLDER):
        used: set[Path] = set()
        models = settle(folder)
        for name, entry in models.items():
            model = load_runnable(folder, name, entry)
            used |= {weight_path(folder, tensor) for tensor in stored_weights(model)}
            used.add(folder / GRAPHS_FOLDER / entry.graph)
        foreign = dict(_foreign(folder, {f"{name}.onnx" for name in models}))
        used |= {path for paths in foreign.values() for path in paths}
        removed, size = [], 0
        for inner in (WEIGHTS_FOLDER, GRAPHS_FOLDER):
            for path in sorted((folder / inner).iterdir()):
                if path not in used and is_left_over(path):
                    size += path.stat().st_size
                    path.unlink()
                    removed.append(f"{inner}/{path.name}")
    return Collected(str(folder), tuple(removed), size, tuple(foreign))


def _foreign(folder: Path, ours: set[str]) -> Iterator[tuple[str, list[Path]]]:
    """Copies of models that somebody put into the store's folder, and the weights they use."""
    for path in sorted(folder.glob("*.onnx")):
        if path.name not in ours:
            try:
                yield path.name, [weight_path(folder, t) for t in stored_weights(load_graph(path))]
            except KilnxError:
                continue  # no model that uses weights of the store
