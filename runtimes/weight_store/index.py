"""The index of a weight store: which models it holds, by name, and the digest of each.

The file has one possible text for what it says and ends with a digest of that text, so any
changed byte is noticed. It is written last: what it does not name does not count. While files are
replaced or removed it says which, and what they become: whoever finds it so knows for each of them
whether that has happened (``runtimes.weight_store.journal``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.tensor_bytes import CHUNK_BYTES, digest_of
from runtimes.weight_store.files import open_plain, write_whole

INDEX_NAME = "kilnx-store.json"
"""The file in a folder that makes it a store."""

FORMAT = 2
"""What this version reads. It writes 1 unless files are being changed."""

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


Changes = Mapping[str, Entry | None]
"""What models become, by name; None for those that go."""


@dataclass(frozen=True)
class Index:
    """What an index says: models as they were, and what some of them are about to become."""

    models: Mapping[str, Entry]
    changing: Changes


def write_index(
    folder: Path, models: Mapping[str, Entry], changing: Changes = MappingProxyType({})
) -> None:
    """Write the index of ``folder``, replacing the old one in one step."""
    write_whole(folder / INDEX_NAME, [_text(models, changing)])


def read_index(folder: Path) -> Mapping[str, Entry]:
    """The models of the store at ``folder``, by name.

    Where a change was not brought to its end, a model is what its file is. Raises ``ModelError``
    where there is no store, its index is damaged, or its format is newer.
    """
    index = read_whole_index(folder)
    models = dict(index.models)
    for name, becomes in index.changing.items():
        if becomes is None:
            models.pop(name, None)
        elif name in models and file_digest(folder / f"{name}.onnx") == becomes.model:
            models[name] = becomes
    return MappingProxyType(models)


def file_digest(path: Path) -> str | None:
    """The digest of a file of the store; None where there is none. ``ModelError`` for a link."""
    if not path.exists() and not path.is_symlink():
        return None
    with open_plain(path) as file:
        return digest_of(iter(lambda: file.read(CHUNK_BYTES), b""))


def read_whole_index(folder: Path) -> Index:
    """What the index of ``folder`` says, as it is; raises what ``read_index`` raises."""
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
            models = {name: _entry(entry) for name, entry in document["models"].items()}
            told = document["changing"] if version == FORMAT else {}
            changing = {name: None if e is None else _entry(e) for name, e in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: it is not an index that can be read") from error
    if newer:
        raise ModelError(
            f"{path} is of format {version}, and this kilnx reads format {FORMAT}; update kilnx"
        )
    if _text(models, changing) != raw:
        raise ModelError(f"{path} is damaged: it does not agree with its own digest")
    for name, entry in (*models.items(), *changing.items()):
        if not _NAME.fullmatch(name) or not (entry is None or _has_digests(entry)):
            raise ModelError(f"{path} holds the name {name!r} or a digest that is none; refused")
    return Index(MappingProxyType(models), MappingProxyType(changing))


def _entry(told: Mapping[str, str]) -> Entry:
    return Entry(told["model"], told["graph"])


def _has_digests(entry: Entry) -> bool:
    return is_digest(entry.model) and is_digest(entry.graph)


def _text(models: Mapping[str, Entry], changing: Changes) -> bytes:
    document: dict[str, Any] = {"format": FORMAT if changing else 1, "models": _plain(models)}
    if changing:
        document["changing"] = _plain(changing)
    body = json.dumps(document, indent=1, default=str)
    document["digest"] = digest_of(iter([body.encode()]))
    return (json.dumps(document, indent=1, default=str) + "\n").encode()


def _plain(entries: Changes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in sorted(entries):
        entry = entries[name]
        found[name] = None if entry is None else {"graph": entry.graph, "model": entry.model}
    return found
