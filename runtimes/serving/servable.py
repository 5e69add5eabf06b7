"""The files of one version of a model, verified, and out of reach of whoever changes them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtimes.atomic_files import scratch_folder
from runtimes.base import Array, Closable, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import as_taken, fixed_batch
from runtimes.errors import DataError
from runtimes.onnx_files.external_data import external_tensors
from runtimes.onnx_files.load import load_graph
from runtimes.onnx_files.tensor_bytes import digest_of
from runtimes.serving.sources import MODEL, STAGES, Source
from runtimes.serving.staged import copied_stages
from runtimes.targets import DEFAULT_TARGET

_WARMUP_SAMPLES = 16
_CHUNK = 1 << 20


@dataclass
class Servable(Closable):
    """What is loaded for one version; ``close`` removes copies that were made of it.

    Attributes:
        source: Where it lies.
        digest: Digest of the bundle's manifest, or of the model's file.
        model: The ONNX file to run, or the folder of its stages.
        fp32: The ONNX file that it was made from, or None.
        warmup: A file of samples, or None.
        reference: The bundle's statistics of held-out data, or None.
        labels: Names of the classes.
        limits: What the bundle says should be refused.
        policy: What the bundle says the monitor should do.
        target: The runtime that it was proven on.
        staged: Whether ``model`` is a folder of stages.
    """

    source: Source
    digest: str
    model: Path
    fp32: Path | None = None
    warmup: Path | None = None
    reference: Path | None = None
    labels: Sequence[str] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    target: str = DEFAULT_TARGET
    staged: bool = False
    _bundle: Any = None
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def original(self) -> Path:
        """The model's file, where it was found."""
        if self.source.path.is_file():
            return self.source.path
        return self.source.path / (STAGES if self.staged else MODEL)

    def samples(self, inputs: Sequence[TensorSpec]) -> dict[str, Array] | None:
        """The first samples for warming up; None where there are none."""
        if self.warmup is None:
            return None
        data = Dataset.open(self.warmup, inputs=inputs).without_labels()
        size = fixed_batch(inputs)
        feed = next(iter(data.batches(min(size or _WARMUP_SAMPLES, _WARMUP_SAMPLES)))).feed
        return as_taken(feed, inputs, size)

    def require_unchanged(self) -> None:
        """Raise where a file changed while it was loaded: what runs is then not what was proven."""
        if self._bundle is not None:
            self._bundle.require_unchanged()
        elif file_digest(self.original) != self.digest:
            raise DataError(f"{self.original} changed while it was loaded; load it again")

    def close(self) -> None:
        """Remove what was unpacked or copied."""
        self._held.close()


def open_servable(source: Source, keys: tuple[str, ...] = ()) -> Servable:
    """Verify the files of a version; with public ``keys``, by a signature of one of their owners.

    Raises ``ModelError`` or ``DataError`` for files that are not there or not what they should be.
    """
    if keys and not source.is_bundle:
        raise DataError(
            f"{source.path} is no bundle, and only a bundle has a signature to verify (--verify)"
        )
    with ExitStack() as held:
        found = _open_bundle(source, held, keys) if source.is_bundle else _open_files(source)
        _keep_weights(found, held)
        found._held = held.pop_all()
    return found


def file_digest(path: Path) -> str:
    """The digest of a file's bytes, as ``digest_of`` writes it."""
    try:
        with path.open("rb") as file:
            return digest_of(iter(lambda: file.read(_CHUNK), b""))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _open_bundle(source: Source, held: ExitStack, keys: tuple[str, ...]) -> Servable:
    from runtimes.bundle.bundle import Bundle

    bundle = held.enter_context(Bundle.open(source.path, public_key=keys or None))
    return Servable(
        source,
        bundle.digest,
        bundle.stages or bundle.model,
        bundle.fp32,
        bundle.warmup,
        bundle.reference,
        bundle.labels,
        bundle.limits,
        bundle.policy,
        bundle.target,
        staged=bundle.stages is not None,
        _bundle=bundle,
    )


def _open_files(source: Source) -> Servable:
    """An ONNX file, or a folder that ``kilnx compress`` or ``kilnx partition`` wrote."""
    if source.path.is_file():
        return Servable(source, file_digest(source.path), source.path)
    if (source.path / STAGES).is_file() and not (source.path / MODEL).is_file():
        return Servable(source, file_digest(source.path / STAGES), source.path, staged=True)
    model, fp32 = source.path / MODEL, source.path / "fp32.onnx"
    return Servable(source, file_digest(model), model, fp32 if fp32.is_file() else None)


def _keep_weights(servable: Servable, held: ExitStack) -> None:
    """Copy models whose weights lie in other files: a session maps them as long as it lives."""
    for place in ("model", "fp32"):
        path: Path | None = getattr(servable, place)
        if path is None:
            continue
        if path.is_dir():
            if path == servable.source.path:  # and not what was unpacked from an archive
                servable.model = copied_stages(path, held)
            continue
        needed = {Path(str(tensor.location)) for tensor in external_tensors(load_graph(path))}
        if needed:
            folder = held.enter_context(scratch_folder())
            for name in (Path(path.name), *needed):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path.parent / name, folder / name)
            setattr(servable, place, folder / path.name)
