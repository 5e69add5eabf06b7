"""Write a bundle: all files first, then the manifest that names them, all or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from runtimes.atomic_files import atomic_file, atomic_folder, foreign_files, scratch_folder
from runtimes.bundle.archive import in_order
from runtimes.bundle.bundle import Bundle
from runtimes.bundle.compatibility import installed_engines
from runtimes.bundle.containers import ArchiveContainer, FolderContainer
from runtimes.bundle.file_names import MANIFEST, SIGNATURE, SUFFIX
from runtimes.bundle.manifest import (
    FP32,
    MODEL,
    PAGE,
    REFERENCE,
    REPORT,
    REQUIREMENTS,
    WARMUP,
    Manifest,
    check_model_name,
    check_version,
    parse_manifest,
)
from runtimes.bundle.model_files import add_model
from runtimes.bundle.signature import Signer
from runtimes.bundle.sinks import ArchiveSink, Content, FolderSink, Sink
from runtimes.bundle.verify import read_manifest
from runtimes.errors import DataError, KilnxError
from runtimes.version import own_version


def write_bundle(
    destination: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    stages: Mapping[str, Path] | None = None,
    fp32: str | os.PathLike[str] | None = None,
    report: Content | None = None,
    html: Content | None = None,
    reference: Content | None = None,
    warmup: Content | None = None,
    requirements: Content | None = None,
    labels: Sequence[str] = (),
    limits: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    name: str,
    version: str = "1",
    target: str = "onnxruntime",
    packages: Mapping[str, str] | None = None,
    sign: Signer | None = None,
    force: bool = False,
) -> Bundle:
    """Write a bundle and open it, so that what was written is verified.

    The same files and words give the same bytes. Content is a file to copy or the bytes.

    Args:
        destination: A name that ends with ``.kilnx`` for one file, any other for a folder.
        model: The ONNX file to run; its external data come along.
        stages: In its place the files of its stages, by name.
        fp32: The ONNX file that it was made from.
        report: ``report.json`` of ``compress``.
        html: ``report.html``.
        reference: Statistics of held-out data, as JSON.
        warmup: A few samples, as an ``.npz``.
        requirements: What to install to run it, for pip.
        labels: Names of the classes.
        limits: What a server should refuse.
        policy: What a monitor should do.
        name: What the model is called: letters, digits and ``. _ -``.
        version: Which version of it this is.
        target: The runtime that the model is for.
        packages: Versions of the engines that it was proven with; None: those that are installed.
        sign: Signs the manifest, see ``open_signer``.
        force: Whether a bundle at ``destination`` is replaced; nothing else is.

    Returns:
        The open bundle.

    Raises:
        DataError: ``destination`` exists or cannot be written, or a name cannot be one.
        ModelError: A model cannot be read.
    """
    contents = {
        REPORT: report,
        PAGE: html,
        REFERENCE: reference,
        WARMUP: warmup,
        REQUIREMENTS: requirements,
    }
    models = {MODEL: model, FP32: fp32}
    _check_names(name, version)
    facts: dict[str, Any] = {
        "kilnx": own_version(),
        "target": target,
        "packages": installed_engines(target) if packages is None else packages,
        "labels": tuple(labels),
        "limits": limits or {},
        "policy": policy or {},
    }
    sources = (*contents.values(), *(stages or {}).values())
    inputs = [
        *(path for path in models.values() if path is not None),
        *(one for one in sources if isinstance(one, Path)),
    ]
    with _sink(Path(destination), force, inputs) as sink, ExitStack() as held:
        given: dict[str, Content] = {key: c for key, c in contents.items() if c is not None}
        given |= stages or {}
        for key, path in models.items():
            if path is not None:
                add_model(given, key, Path(path), lambda: held.enter_context(scratch_folder()))
        files = {key: sink.add(key, given[key]) for key in sorted(given)}
        raw = _manifest_bytes(Manifest(name, version, files, **facts))
        seal(sink, raw, f"kilnx bundle {name} {version}", sign)
    return Bundle.open(destination)


def repack(
    source: Bundle,
    destination: str | os.PathLike[str],
    *,
    sign: Signer | None = None,
    force: bool = False,
) -> Bundle:
    """Write an open bundle as one file or as a folder; its signature stays, or a new one comes."""
    raw = (source.folder / MANIFEST).read_bytes()
    with _sink(Path(destination), force, [source.path, source.folder]) as sink:
        for name in sorted(source.files):
            sink.add(name, source.folder / name)
        if sign is None and source.signed:
            sink.add(MANIFEST, raw)
            sink.add(SIGNATURE, source.folder / SIGNATURE)
        else:
            seal(sink, raw, f"kilnx bundle {source.name} {source.version}", sign)
        source.require_unchanged()
    return Bundle.open(destination)


def seal(sink: Sink, raw: bytes, comment: str, sign: Signer | None) -> None:
    """Write the manifest, and its signature behind it."""
    signature = None if sign is None else sign(raw, comment)
    sealed = {MANIFEST: raw} if signature is None else {MANIFEST: raw, SIGNATURE: signature}
    for name in sorted(sealed, key=in_order):
        sink.add(name, sealed[name])


def _manifest_bytes(manifest: Manifest) -> bytes:
    try:
        raw = manifest.to_bytes()
    except ValueError as error:
        raise DataError(f"labels, limits or policy cannot be written as JSON: {error}") from error
    parse_manifest(raw, "the new manifest")
    return raw


def _check_names(name: str, version: str) -> None:
    try:
        check_model_name(name)
        check_version(version)
    except ValueError as error:
        raise DataError(str(error)) from error


@contextmanager
def _sink(destination: Path, force: bool, inputs: Sequence[Any]) -> Iterator[Sink]:
    """Where the files go, which appears when the block ends well."""
    if destination.suffix != SUFFIX:
        rules: dict[str, Any] = {"force": force, "inputs": inputs, "foreign": files_not_listed}
        with atomic_folder(destination, **rules) as folder:
            yield FolderSink(folder)
        return
    with (
        atomic_file(destination, force=force, inputs=inputs, ours=is_archive) as path,
        path.open("xb") as file,
    ):
        sink = ArchiveSink(file)
        yield sink
        sink.close()


def files_not_listed(folder: Path) -> Iterator[str]:
    """Yield the files in a folder that are not those of a bundle; without a manifest, all."""
    try:
        container = FolderContainer(folder)
        raw = read_manifest(container, folder)
        files = parse_manifest(raw, str(folder)).files
    except KilnxError:
        yield from foreign_files(folder, {})
        return
    digests = {name: entry.sha256 for name, entry in files.items()}
    ours = {MANIFEST, SIGNATURE}
    yield from (name for name in foreign_files(folder, digests) if name not in ours)


def is_archive(path: Path) -> bool:
    """Whether the file at ``path`` has the form of a bundle in one file."""
    try:
        with ArchiveContainer(path) as container:
            parse_manifest(read_manifest(container, path), str(path))
    except KilnxError:
        return False
    return True
