"""Whether the files of a bundle are those of its manifest, no more, no fewer, and unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from runtimes.bundle.containers import Container
from runtimes.bundle.faults import Fault, listed, refusal
from runtimes.bundle.file_names import MANIFEST, SIGNATURE, UNLISTED
from runtimes.bundle.manifest import FP32, LARGEST_MANIFEST_BYTES, MODEL, STAGES, FileEntry
from runtimes.bundle.signature import LARGEST_SIGNATURE_BYTES
from runtimes.onnx_files.streaming import locations_in
from runtimes.protobuf_fields import MalformedMessage

Files = Mapping[str, FileEntry]


def read_manifest(container: Container, where: Path) -> bytes:
    """The bytes of the manifest, which are no more than a manifest may have."""
    if MANIFEST not in container.sizes:
        raise refusal(
            Fault.NO_MANIFEST,
            f"{where} is not a bundle: there is no {MANIFEST} in it; one is made with: "
            "kilnx package",
        )
    return _small(container, MANIFEST, LARGEST_MANIFEST_BYTES, Fault.BAD_MANIFEST, where)


def read_signature(container: Container, where: Path) -> bytes | None:
    """The bytes of the signature; None where nobody signed."""
    if SIGNATURE not in container.sizes:
        return None
    return _small(container, SIGNATURE, LARGEST_SIGNATURE_BYTES, Fault.SIGNATURE, where)


def check_listing(container: Container, files: Files, where: Path) -> None:
    """Raise ``BundleError`` unless the files are those of the manifest, by name and size."""
    found = set(container.sizes) - UNLISTED
    missing, extra = files.keys() - found, found - files.keys()
    if missing:
        raise refusal(Fault.MISSING, f"{where} lacks {listed(missing)}, which its manifest lists")
    if extra:
        raise refusal(
            Fault.EXTRA, f"{where} holds {listed(extra)}, which its manifest does not list"
        )
    for name, entry in sorted(files.items()):
        size = container.sizes[name]
        if size != entry.size:
            raise refusal(
                Fault.SIZE, f"{where}: {name!r} holds {size} bytes, its manifest says {entry.size}"
            )


def read_entries(container: Container, files: Files) -> dict[str, FileEntry]:
    """What the files of the manifest are found to be."""
    return {name: _read_entry(container, name) for name in sorted(files)}


def check_digests(found: Files, files: Files, where: Path) -> None:
    """Raise ``BundleError`` that names every file whose digest is not that of the manifest."""
    changed = {name for name, entry in files.items() if found[name] != entry}
    if changed:
        raise refusal(
            Fault.DIGEST,
            f"{where}: {listed(changed)} changed since the bundle was made (SHA-256); take it from "
            "where it was made, or package it again",
        )


def check_weights(folder: Path, files: Files, where: Path) -> None:
    """Raise ``BundleError`` where a model has weights in files that the manifest does not list."""
    stages = sorted(one for one in files if STAGES in files and one.endswith(".onnx"))
    for name in dict.fromkeys((MODEL, FP32, *stages)):
        if name not in files:
            continue
        try:
            locations = locations_in(folder / name)
        except MalformedMessage as error:
            raise refusal(Fault.MODEL, f"{where}: {name!r} is not an ONNX model: {error}") from (
                error
            )
        outside = {place for place in locations if PurePosixPath(place).as_posix() not in files}
        if outside:
            raise refusal(
                Fault.WEIGHTS,
                f"{where}: {name!r} has weights in {listed(outside)}, which the manifest does not "
                "list",
            )


def _small(container: Container, name: str, most: int, kind: Fault, where: Path) -> bytes:
    if container.sizes[name] > most:
        raise refusal(kind, f"{where}: {name!r} is larger than the {most:,} bytes it may have")
    return b"".join(container.read(name))


def _read_entry(container: Container, name: str) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    for piece in container.read(name):
        digest.update(piece)
        size += len(piece)
    return FileEntry(digest.hexdigest(), size)
