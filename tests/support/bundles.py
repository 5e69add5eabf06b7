"""Bundles for tests: a small model, written as a folder or as one file, and broken on purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.parser import parse_model

from runtimes.bundle import write_bundle
from runtimes.bundle.canonical_json import canonical
from runtimes.bundle.zip_records import ZipEntry, central_header, ending, local_header

TEXT = (
    '<ir_version: 10, opset_import: ["" : 18]> net (float[n, 4] x) => (float[n, 4] y)'
    "{ y = Softmax(x) }"
)
MANIFEST = "kilnx-bundle.json"


def make_model(path: Path) -> Path:
    """Write a softmax of four numbers."""
    ir.save(ir.from_proto(parse_model(TEXT)), path)
    return path


def make_model_with_data(path: Path, data: str) -> Path:
    """Write a model whose weights lie in a file called ``data``, in its folder."""
    weights = np.arange(4096, dtype=np.float32).reshape(4, 1024) / 999
    x = ir.val("x", ir.DataType.FLOAT, ["n", 4])
    held = ir.val("w", ir.DataType.FLOAT, weights.shape, const_value=ir.tensor(weights, name="w"))
    node = ir.node("MatMul", [x, held])
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", x.type, ir.Shape(["n", 1024])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[held], opset_imports={"": 18}, name="g")
    (path.parent / data).parent.mkdir(parents=True, exist_ok=True)
    ir.save(ir.Model(graph, ir_version=10), path, external_data=data)
    return path


def make_bundle(folder: Path, form: str = "bundle", **more: Any) -> Path:
    """Write a bundle with a bit of everything into ``folder``."""
    model = make_model(folder / f"model-of-{form}.onnx")
    given: dict[str, Any] = {
        "name": "digits",
        "fp32": model,
        "report": b'{"kilnx": "0.1.0"}',
        "html": b"<!doctype html><title>kilnx</title>",
        "labels": ["zero", "one", "zwölf", "dreizehn"],
        "limits": {"max_batch_size": 32},
        "policy": {"alpha": 0.001},
    }
    write_bundle(folder / form, model=model, **{**given, **more}).close()
    return folder / form


def manifest_of(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says."""
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return found


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a manifest that is right in its form, after ``change``."""
    document = manifest_of(folder)
    change(document)
    (folder / MANIFEST).write_bytes(canonical(document))


def add_file(folder: Path, name: str, content: bytes = b"more") -> None:
    """Put a file into a folder, and into its manifest."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    list_file(folder, name, content)


def list_file(folder: Path, name: str, content: bytes = b"more") -> None:
    """Put a file into the manifest only."""
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    change_manifest(folder, lambda document: document["files"].update({name: entry}))


def archive_of(files: list[tuple[str, bytes]], **changes: Any) -> bytes:
    """An archive of files under any names, in the form of a bundle; ``changes`` of its records.

    ``central`` and ``local`` are functions of an entry that give its records, and ``end`` one of
    the ending.
    """
    from zlib import crc32

    raw, entries = b"", []
    local = changes.get("local", local_header)
    for name, content in files:
        entry = ZipEntry(name, len(raw), len(content), crc32(content))
        raw += local(entry) + content
        entries.append(entry)
    directory = b"".join(map(changes.get("central", central_header), entries))
    end = ending(len(entries), len(directory), len(raw))
    return raw + directory + changes.get("end", lambda found: found)(end)


def files_of(folder: Path) -> list[tuple[str, bytes]]:
    """The files of a bundle in the order of an archive."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names.sort(key=lambda name: name.startswith(MANIFEST))
    return [(name, (folder / name).read_bytes()) for name in names]
