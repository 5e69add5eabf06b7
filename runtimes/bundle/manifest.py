"""The manifest of a bundle: its name, what it was proven with, and the digest of each file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtimes.bundle.canonical_json import MOST_EXACT, canonical, parse_canonical
from runtimes.bundle.faults import Fault, refusal
from runtimes.bundle.file_names import MANIFEST, UNLISTED, check_names

FORMAT = 1
"""What this version writes, and the newest that it reads."""

LARGEST_MANIFEST_BYTES = 1 << 24
"""Larger ones are refused before they are read."""

MODEL, FP32 = "model.onnx", "fp32.onnx"
REPORT, PAGE = "report.json", "report.html"
REFERENCE, WARMUP, REQUIREMENTS = "reference.json", "warmup.npz", "requirements.lock"
STAGES = "stages.json"
"""In place of ``MODEL``: what the stages are that the model was cut into."""

RESERVED = frozenset(
    {MODEL, STAGES, FP32, REPORT, PAGE, REFERENCE, WARMUP, REQUIREMENTS}
    | {n.lower() for n in UNLISTED}
)
"""Names that mean something in a bundle, and are free for nothing else."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class FileEntry:
    """What a manifest says of a file: SHA-256 in hexadecimal digits, and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Everything that ``kilnx-bundle.json`` says; ``limits`` and ``policy`` are plain JSON.

    ``kilnx``: the version that wrote it. ``target``: the runtime that the model is for.
    ``packages``: the versions that the model was proven with, by distribution.
    """

    name: str
    version: str
    files: Mapping[str, FileEntry]
    kilnx: str = ""
    target: str = "onnxruntime"
    packages: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "kilnx": self.kilnx,
            "target": self.target,
            "packages": dict(self.packages),
            "labels": list(self.labels),
            "limits": dict(self.limits),
            "policy": dict(self.policy),
            "files": {
                name: {"sha256": entry.sha256, "size": entry.size}
                for name, entry in self.files.items()
            },
        }

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        return canonical(self.to_dict())


def digest_of(raw: bytes) -> str:
    """What identifies a bundle: the SHA-256 of its manifest, which names that of every file."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def check_model_name(name: str) -> str:
    """``name``, if a bundle may be called so; raises ``ValueError``."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:128]!r} cannot be the name of a model: 1 to 128 letters, digits and . _ -, "
            "the first a letter or a digit"
        )
    return name


def check_version(version: str) -> str:
    """``version``, if a bundle may have it; raises ``ValueError``."""
    if not _VERSION.fullmatch(version):
        raise ValueError(
            f"{version[:64]!r} cannot be a version: 1 to 64 letters, digits and . _ + -, "
            "the first a letter or a digit"
        )
    return version


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Read the bytes of a manifest; ``where`` names it in errors.

    Raises ``BundleError``. What the format does not know is passed over.
    """
    try:
        document = parse_canonical(raw)
        _refuse_newer(document, where)
        found = _manifest(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise refusal(Fault.BAD_MANIFEST, f"{where} cannot be read as a manifest: {reason}") from (
            error
        )
    _check_files(found.files, where)
    return found


def _refuse_newer(document: Any, where: str) -> None:
    number = document["format"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"its format is {number!r} and not a number")
    if number > FORMAT:
        raise refusal(
            Fault.NEWER_FORMAT,
            f"{where} is of format {number}, and this kilnx reads format {FORMAT}; update kilnx",
        )


def _manifest(document: Mapping[str, Any]) -> Manifest:
    return Manifest(
        name=check_model_name(document["name"]),
        version=check_version(document["version"]),
        files={name: _entry(name, entry) for name, entry in document["files"].items()},
        kilnx=_of_type(str, document, "kilnx"),
        target=_of_type(str, document, "target"),
        packages=_texts(_of_type(dict, document, "packages"), "packages"),
        labels=tuple(_labels(_of_type(list, document, "labels"))),
        limits=_of_type(dict, document, "limits"),
        policy=_of_type(dict, document, "policy"),
    )


def _entry(name: str, entry: Mapping[str, Any]) -> FileEntry:
    digest, size = entry["sha256"], entry["size"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"the digest of {name!r} is not 64 hexadecimal digits")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MOST_EXACT:
        raise ValueError(f"the size of {name!r} is not a number of bytes")
    return FileEntry(digest, size)


def _of_type(kind: type, document: Mapping[str, Any], key: str) -> Any:
    value = document[key]
    if not isinstance(value, kind):
        raise ValueError(f"{key!r} is a {type(value).__name__} and not a {kind.__name__}")
    return value


def _texts(values: Mapping[str, Any], key: str) -> Mapping[str, str]:
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"{key!r} holds something that is no text")
    return values


def _labels(values: Sequence[Any]) -> Sequence[str]:
    if not all(isinstance(value, str) for value in values):
        raise ValueError("'labels' holds something that is no text")
    return values


def _check_files(files: Mapping[str, FileEntry], where: str) -> None:
    check_names(files, where)
    listed = next((name for name in files if name.lower() in UNLISTED), None)
    if listed is not None:
        raise refusal(Fault.BAD_NAME, f"{where} lists {listed!r}, which cannot vouch for itself")
    if MODEL not in files and STAGES not in files:
        raise refusal(Fault.BAD_MANIFEST, f"{where} lists no {MODEL}, so there is nothing to run")


__all__ = [
    "FORMAT",
    "FP32",
    "LARGEST_MANIFEST_BYTES",
    "MANIFEST",
    "MODEL",
    "PAGE",
    "REFERENCE",
    "REPORT",
    "REQUIREMENTS",
    "RESERVED",
    "STAGES",
    "WARMUP",
    "FileEntry",
    "Manifest",
    "check_model_name",
    "check_version",
    "digest_of",
    "parse_manifest",
]
