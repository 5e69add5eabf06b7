"""``stages.json``: which files the stages are, in which order, and what goes from one to the next.

The folder is not trusted: names of files are plain, sizes and digests are checked, and the tensors
have to fit together before a stage is opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from runtimes.agent.typed_json import read
from runtimes.atomic_files import file_digest
from runtimes.errors import DataError, ModelError
from runtimes.stages.proof import PROOF

MANIFEST = "stages.json"
FORMAT = 1
SERVERS = ("http://", "https://")
"""How the addresses of servers begin."""

_LARGEST = 16 << 20
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.onnx")


@dataclass(frozen=True)
class Stage:
    """One stage: its file and what it takes, gives, holds and costs.

    ``device``: ``cpu``, ``cuda:1`` or another provider; or the address of a server that has it
    under its name, or of a model there: ``http://host:port/v2/models/NAME``. ``files``: digests of
    the model and of its data. ``microseconds``: what the cost table predicts for one run.
    """

    name: str
    file: str
    device: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: int
    microseconds: float
    files: Mapping[str, str]

    @property
    def is_on_server(self) -> bool:
        """Whether its device is an address."""
        return self.device.startswith(SERVERS)


@dataclass(frozen=True)
class Stages:
    """All stages of a model; ``exact`` for what they run on if they are of an optimized graph.

    ``inputs`` and ``outputs`` are the whole model's. ``proof``: the digest of ``proof.npz``, if
    there is one.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stages: tuple[Stage, ...]
    exact: str | None = None
    proof: str | None = None

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of the stages that run on servers."""
        return tuple(one.device for one in self.stages if one.is_on_server)

    def files(self, *, here: bool = False) -> dict[str, str]:
        """The digest of each file, by name; ``here``: without those of stages on servers."""
        needed = [one for one in self.stages if not (here and one.is_on_server)]
        found = {name: digest for one in needed for name, digest in one.files.items()}
        return found if self.proof is None else {**found, PROOF: self.proof}


def write_manifest(folder: Path, stages: Stages) -> None:
    """Write ``stages.json`` into ``folder``."""
    text = json.dumps({"format": FORMAT, **asdict(stages)}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


def read_manifest(folder: Path, *, verify: bool = True, here: bool = False) -> Stages:
    """What ``stages.json`` in ``folder`` says, checked; ``verify``: its files, too.

    ``here``: of those, the files of stages that run on servers need not be there.

    Raises ``DataError`` where there is none, and ``ModelError`` for one that is damaged or does not
    fit its files.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} has no {MANIFEST}; make stages with: kilnx partition MODEL.onnx")
    if path.stat().st_size > _LARGEST:
        raise ModelError(f"{path} is larger than {_LARGEST >> 20} MiB, which no such file is")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document.pop("format")
        if version != FORMAT:
            raise ModelError(
                f"{path} has format {str(version)[:20]}, and this kilnx reads {FORMAT}"
            )
        found = read(Stages, document, MANIFEST)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged ({error}); partition again") from error
    _refuse_names(found, path)
    _refuse_gaps(found, path)
    if verify:
        for name, digest in found.files(here=here).items():
            _refuse_changed(folder / name, digest)
    return found


def _refuse_names(stages: Stages, path: Path) -> None:
    """Raise ``ModelError`` for a file that does not have to be in the folder."""
    for stage in stages.stages:
        for name in (stage.file, *stage.files):
            if not _FILE.fullmatch(name.removesuffix(".data")):
                raise ModelError(f"{path} is damaged: {name[:60]!r} is no file of a stage")
        if stage.file not in stage.files:
            raise ModelError(f"{path} is damaged: {stage.file} has no digest")


def _refuse_gaps(stages: Stages, path: Path) -> None:
    known = set(stages.inputs)
    for stage in stages.stages:
        missing = sorted(set(stage.inputs) - known)
        if missing:
            raise ModelError(f"{path}: nothing gives {stage.name} its input {missing[0]!r}")
        known |= set(stage.outputs)
    missing = sorted(set(stages.outputs) - known)
    if missing or not stages.stages:
        raise ModelError(f"{path}: no stage gives the output {missing[0] if missing else ''!r}")


def _refuse_changed(path: Path, digest: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{path} is missing, or not a plain file; partition the model again")
    if file_digest(path) != digest:
        raise ModelError(f"{path} was changed since the model was partitioned; partition it again")
