"""The stages of a model in a bundle: their files, and what all of them together take and give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converter.packaging.signature import Signature, read_signature
from runtimes.base import TensorSpec
from runtimes.errors import ModelError
from runtimes.stages.manifest import MANIFEST, Stage, read_manifest


@dataclass(frozen=True)
class Staged:
    """The stages in a folder, with their signatures, and that of the model that was cut.

    ``exact``: the machine whose graph was cut bit by bit, if so.
    """

    folder: Path
    stages: tuple[Stage, ...]
    signatures: tuple[Signature, ...]
    whole: Signature
    exact: str | None

    @property
    def is_batched(self) -> bool:
        """Whether samples stack along the first axis of every tensor that travels."""
        return all(one.is_batched for one in (self.whole, *self.signatures))


def is_staged(folder: Path) -> bool:
    """Whether ``folder`` is one that ``kilnx partition`` wrote."""
    return folder.is_dir() and (folder / MANIFEST).is_file()


def stage_files(folder: Path) -> dict[str, Path]:
    """All files of the stages in ``folder``, by name, once they are what ``stages.json`` says."""
    return {name: folder / name for name in (MANIFEST, *read_manifest(folder).files())}


def read_staged(folder: Path) -> Staged:
    """The stages in ``folder``; raises ``ModelError`` where tensors are not known."""
    found = read_manifest(folder)
    signatures = tuple(read_signature(folder / stage.file) for stage in found.stages)
    known = specs_of(signatures)
    missing = [name for name in (*found.inputs, *found.outputs) if name not in known]
    if missing:
        raise ModelError(f"no stage of {folder} has the tensor {missing[0]!r}; partition again")
    whole = Signature(
        tuple(known[name] for name in found.inputs),
        tuple(known[name] for name in found.outputs),
        {key: value for one in signatures for key, value in one.opsets.items()},
        (),
    )
    return Staged(folder, found.stages, signatures, whole, found.exact)


def specs_of(signatures: Sequence[Signature]) -> dict[str, TensorSpec]:
    """What each tensor is, by name: as the stage says that gives it, or else that takes it."""
    found = {spec.name: spec for one in signatures for spec in one.inputs}
    return found | {spec.name: spec for one in signatures for spec in one.outputs}
