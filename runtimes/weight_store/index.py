"""The index of a weight store: which models it holds, by name, and the digest of each.

The file has one possible text for what it says and ends with a digest of that text, so any
changed byte is noticed. It is written last: what it does not name does not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.tensor_bytes import digest_of
from runtimes.weight_store.files import open_plain, write_whole

INDEX_NAME = "kilnx-store.json"
"""The file in a folder that makes it a store."""

FORMAT = 1
"""What this version reads and writes."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ +-]{0,199}")
_DIGEST = re.compile(r"[0-9a-f]{40}")
_LARGEST_INDEX_BYTES = 1 << 28


@dataclass(frozen=True)
class Entry:
    """Digests of one model: of the file that runs, and of the graph as it was given."""

    model: str
    graph: str


def check_name(name: str) -> str:
    """Give ``name`` back if a model may be called so; ``DataError`` otherwise.

    Letters, digits and ``. _ + -`` or spaces, a letter or digit first: never a path.
    """
    if not _NAME.fullmatch(name) or name.endswith((".", " ")):
        raise DataError(
            f"{name!r} cannot be the name of a model in a store: letters, digits and . _ + - "
            "are allowed, the first a letter or a digit; give another with --name"
        )
    return name


def is_digest(text: str) -> bool:
    """Whether ``text`` has the form of a digest: 40 hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def write_index(folder: Path, models: Mapping[str, Entry]) -> None:
    """Write the index of ``folder``, replacing the old one in one step."""
    write_whole(folder / INDEX_NAME, [_text(models)])


def read_index(folder: Path) -> Mapping[str, Entry]:
    """The models of the store at ``folder``, by name.

    Raises ``ModelError`` where there is no store, its index is damaged, or its format is newer.
    """
    path = folder / INDEX_NAME
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; a store is made with: kilnx dedupe … -o STORE")
    if not path.exists() and not path.is_symlink():
        raise ModelError(f"{folder} is not a store: there is no {INDEX_NAME} in it")
    with open_plain(path) as file:
        raw = file.read(_LARGEST_INDEX_BYTES)
    try:
        document = json.loads(raw)
        version = document["format"]
        newer = isinstance(version, int) and version > FORMAT
        if not newer:
            models = {
                name: Entry(entry["model"], entry["graph"])
                for name, entry in document["models"].items()
            }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: it is not an index that can be read") from error
    if newer:
        raise ModelError(
            f"{path} is of format {version}, and this kilnx reads format {FORMAT}; update kilnx"
        )
    if _text(models) != raw:
        raise ModelError(f"{path} is damaged: it does not agree with its own digest")
    for name, entry in models.items():
        if not _NAME.fullmatch(name) or not is_digest(entry.model) or not is_digest(entry.graph):
            raise ModelError(f"{path} holds the name {name!r} or a digest that is none; refused")
    return MappingProxyType(models)


def _text(models: Mapping[str, Entry]) -> bytes:
    document = {
        "format": FORMAT,
        "models": {
            name: {"graph": models[name].graph, "model": models[name].model}
            for name in sorted(models)
        },
    }
    body = json.dumps(document, indent=1, default=str)
    document["digest"] = digest_of(iter([body.encode()]))
    return (json.dumps(document, indent=1, default=str) + "\n").encode()
