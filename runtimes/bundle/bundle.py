"""A bundle, opened: a model with everything that goes with it, verified before anything is read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtimes.atomic_files import scratch_folder
from runtimes.base import Closable
from runtimes.bundle.compatibility import engine_notes
from runtimes.bundle.containers import (
    ArchiveContainer,
    Container,
    FolderContainer,
    State,
    state_of,
    unreadable,
)
from runtimes.bundle.faults import Fault, refusal
from runtimes.bundle.file_names import UNLISTED
from runtimes.bundle.manifest import (
    FP32,
    MODEL,
    PAGE,
    REFERENCE,
    REPORT,
    REQUIREMENTS,
    STAGES,
    WARMUP,
    FileEntry,
    Manifest,
    digest_of,
    parse_manifest,
)
from runtimes.bundle.signature import PublicKeys, check_signature
from runtimes.bundle.sinks import FolderSink
from runtimes.bundle.verify import (
    check_digests,
    check_listing,
    check_weights,
    read_entries,
    read_manifest,
    read_signature,
)

_LARGEST_REPORT_BYTES = 1 << 28


class Bundle(Closable):
    """A model with its proof, made by ``Bundle.open``; use it in a ``with`` block.

    The files are those of the folder itself, or copies of those in an archive, which are gone when
    the bundle is closed.

    Attributes:
        path: What was opened.
        folder: The folder that holds the files.
        name: What the model is called.
        version: Which version of it this is.
        digest: ``sha256:`` and the digest of the manifest; no two bundles have the same.
        files: Digest and size of each file, by name.
        model: The ONNX file to run; raises ``BundleError`` where there are stages in its place.
        stages: The folder of its stages, or None.
        fp32: The ONNX file that it was made from, or None.
        page: ``report.html``, or None.
        reference: ``reference.json``, statistics of held-out data, or None.
        warmup: ``warmup.npz``, a few samples, or None.
        requirements: ``requirements.lock``, or None.
        labels: Names of the classes in the order of the output.
        limits: What a server should refuse, by name.
        policy: What a monitor should do, and when.
        target: The runtime that the model is for.
        manifest: All that the manifest says.
        signed: Whether there is a signature, verified or not.
        notes: What the user should know: runtimes that are others here than in the proof.
    """

    def __init__(
        self, path: Path, folder: Path, manifest: Manifest, digest: str, signed: bool
    ) -> None:
        self.path, self.folder, self.digest, self.signed = path, folder, digest, signed
        self.name, self.version = manifest.name, manifest.version
        self.files: Mapping[str, FileEntry] = MappingProxyType(dict(manifest.files))
        self.labels, self.target = manifest.labels, manifest.target
        self.limits, self.policy = dict(manifest.limits), dict(manifest.policy)
        self.manifest: dict[str, Any] = manifest.to_dict()
        self.notes = engine_notes(manifest.packages)
        self.stages = folder if STAGES in self.files else None
        self.fp32 = self._file(FP32)
        self.page = self._file(PAGE)
        self.reference = self._file(REFERENCE)
        self.warmup = self._file(WARMUP)
        self.requirements = self._file(REQUIREMENTS)
        self._states: Mapping[str, State] = {}
        self._held = ExitStack()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        verify: bool = True,
        public_key: PublicKeys | None = None,
    ) -> Bundle:
        """Open a bundle, a folder or one file, once all of it is what its manifest says.

        Args:
            path: The folder, or the ``.kilnx`` file.
            verify: Whether the digests of a folder's files are compared, too. Without it, a file
                that changed and kept its size is not noticed.
            public_key: Key of minisign, or its file, by which the bundle has to be signed; or
                several, of which one suffices.

        Returns:
            The open bundle.

        Raises:
            BundleError: It is not a bundle, or not what its manifest says; ``kind`` tells what is
                wrong.
            RuntimeUnavailable: There is nothing here to verify signatures with.
            ValueError: A signature is to be verified, and digests are not.

        Example:
            >>> with Bundle.open("digits.kilnx") as bundle:
            ...     bundle.name
            'digits'
        """
        if public_key is not None and not verify:
            raise ValueError("a signature says nothing of files whose digests are not verified")
        path = Path(path)
        with ExitStack() as held:
            container = held.enter_context(_container(path))
            raw = read_manifest(container, path)
            manifest = parse_manifest(raw, f"{path}: its manifest")
            signature = read_signature(container, path)
            if public_key is not None:
                check_signature(raw, signature, public_key, path)
            check_listing(container, manifest.files, path)
            folder = _folder(container, manifest.files, path, held, verify=verify)
            check_weights(folder, manifest.files, path)
            bundle = cls(path, folder, manifest, digest_of(raw), signature is not None)
            bundle._states = container.states
            bundle._held = held.pop_all()
        return bundle

    @property
    def model(self) -> Path:
        """The ONNX file to run; raises ``BundleError`` where there are stages in its place."""
        if MODEL not in self.files:
            raise refusal(
                Fault.STAGES,
                f"{self.path} holds the stages of a model and not one file of it; serve it with "
                "kilnx serve, or package it for triton or kserve",
            )
        return self.folder / MODEL

    @property
    def report(self) -> dict[str, Any] | None:
        """What ``compress`` reported, read from ``report.json``; None without one."""
        path = self._file(REPORT)
        if path is None:
            return None
        try:
            if self.files[REPORT].size > _LARGEST_REPORT_BYTES:
                raise ValueError("it is too large")
            found = json.loads(path.read_bytes())
            if not isinstance(found, dict):
                raise ValueError("it is no object")
        except (ValueError, RecursionError) as error:
            raise refusal(
                Fault.UNREADABLE, f"{self.path}: {REPORT!r} is not a report: {error}"
            ) from error
        return found

    def require_unchanged(self) -> None:
        """Raise ``BundleError`` if a file of the folder was touched since it was verified.

        It asks for times and sizes only. What was loaded before this passed is what was verified.
        """
        for name, state in self._states.items():
            path = self.folder / name
            try:
                now = state_of(path.lstat())
            except OSError as error:
                raise unreadable(path, error) from error
            if now != state:
                raise refusal(
                    Fault.CHANGED, f"{path} changed since the bundle was opened; open it again"
                )

    def close(self) -> None:
        """Remove the copies of an archive's files."""
        self._held.close()

    def _file(self, name: str) -> Path | None:
        return self.folder / name if name in self.files else None


def _container(path: Path) -> Container:
    if path.is_dir():
        return FolderContainer(path)
    if not path.exists():
        raise refusal(Fault.UNREADABLE, f"{path}: no such bundle")
    if not path.is_file():
        raise refusal(Fault.SPECIAL, f"{path} is neither a file nor a folder; refused")
    return ArchiveContainer(path)


def _folder(
    container: Container,
    files: Mapping[str, FileEntry],
    path: Path,
    held: ExitStack,
    *,
    verify: bool,
) -> Path:
    """The folder of the files, whose digests are right: the bundle itself, or an archive's copy."""
    if isinstance(container, FolderContainer):
        if verify:
            check_digests(read_entries(container, files), files, path)
        return path
    folder = held.enter_context(scratch_folder()) / "bundle"
    folder.mkdir()
    sink = FolderSink(folder)
    names = sorted({*files, *(UNLISTED & container.sizes.keys())})
    found = {name: sink.add(name, container.read(name)) for name in names}
    check_digests(found, files, path)
    return folder
