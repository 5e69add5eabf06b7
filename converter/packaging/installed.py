"""The distributions of this environment that kilnx runs on, their versions and their files.

What was measured is what is shipped: versions come from here, not from what an index has today.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from converter.packaging.project import Project, own_project
from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra

# The distributions of ONNX Runtime, which install over each other, by the extra that brings each.
_ENGINES = {
    "onnxruntime": "cpu",
    "onnxruntime-gpu": "gpu",
    "onnxruntime-openvino": "ort-openvino",
}
# Of a distribution's metadata: where and how it was installed, which no other machine needs.
_OF_THIS_INSTALLATION = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def require_engine() -> tuple[str, str]:
    """Name and version of the distribution that brings ONNX Runtime.

    Raises:
        RuntimeUnavailable: None is installed.
    """
    for name in _ENGINES:
        found = _distribution(name)
        if found is not None:
            return name, found.version
    raise RuntimeUnavailable(missing_extra("ONNX Runtime", "cpu"))


def engine_extra() -> str:
    """The extra of kilnx that brings the ONNX Runtime of this environment."""
    return _ENGINES[require_engine()[0]]


def closure(extras: Sequence[str]) -> tuple[metadata.Distribution, ...]:
    """The distributions that kilnx with ``extras`` needs, by name, without kilnx itself.

    Raises:
        RuntimeUnavailable: Something of it is not installed; names the extra.
    """
    project = own_project()
    _refuse_unknown(project, extras)
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [("kilnx", extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        requires = project.requires if name == "kilnx" else found[name].requires or ()
        for needed in _active(requires, extra):
            key = canonicalize_name(needed.name)
            if key != "kilnx" and key not in found:
                found[key] = _installed(needed, extra if name == "kilnx" else "")
            waiting += [(key, inner) for inner in ("", *needed.extras)]
    return tuple(found[name] for name in sorted(found))


def pinned(distributions: Sequence[metadata.Distribution]) -> str:
    """The lines of a requirements file that asks for these versions."""
    return "".join(f"{canonicalize_name(one.name)}=={one.version}\n" for one in distributions)


def installed_files(distribution: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file that an import needs, as they were installed.

    Raises:
        RuntimeUnavailable: It has no list of files, or a file is not the one that was installed.
    """
    for path, mode, digest in sorted(_record(distribution)):
        if ".." in path.parts or "__pycache__" in path.parts or path.suffix == ".pyc":
            continue
        if path.name in _OF_THIS_INSTALLATION and path.parent.name.endswith(".dist-info"):
            continue
        content = _content(distribution, path)
        if mode and digest != record_digest(content, mode):
            raise RuntimeUnavailable(
                f"{path} of {distribution.name} {distribution.version} is not the file that was "
                "installed; install it again"
            )
        yield path.as_posix(), content


def _record(distribution: metadata.Distribution) -> Iterator[tuple[PurePosixPath, str, str]]:
    """Each file's path, and its digest with its kind; both empty where RECORD has none.

    ``distribution.files`` leaves out files that are gone, in some versions.
    """
    record = distribution.read_text("RECORD")
    if record is None:
        raise RuntimeUnavailable(
            f"{distribution.name} has no list of its files (RECORD); install it with pip"
        )
    for row in csv.reader(record.splitlines()):
        path, hashed = (*row, "", "")[:2]
        mode, _, digest = hashed.partition("=")
        yield PurePosixPath(path), mode, digest


def _content(distribution: metadata.Distribution, path: PurePosixPath) -> bytes:
    try:
        return Path(str(distribution.locate_file(str(path)))).read_bytes()
    except OSError as error:
        raise RuntimeUnavailable(
            f"{path} of {distribution.name} {distribution.version} cannot be read ({error}); "
            "install it again"
        ) from error


def record_digest(content: bytes, mode: str) -> str:
    """As a wheel's RECORD has it: base64 without its padding."""
    return base64.urlsafe_b64encode(hashlib.new(mode, content).digest()).rstrip(b"=").decode()


def _active(requires: Sequence[str], extra: str) -> Iterator[Requirement]:
    """What ``extra`` adds in this environment; what is always needed for no extra."""
    for requirement in map(Requirement, requires):
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always != bool(extra) and (marker is None or marker.evaluate({"extra": extra})):
            yield requirement


def _installed(needed: Requirement, extra: str) -> metadata.Distribution:
    found = _distribution(needed.name)
    if found is None:
        raise RuntimeUnavailable(missing_extra(needed.name, extra or "cpu"))
    return found


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _refuse_unknown(project: Project, extras: Sequence[str]) -> None:
    for extra in extras:
        if canonicalize_name(extra) not in project.extras:
            raise RuntimeUnavailable(
                f"kilnx {project.version} as it is installed here has no extra {extra!r}; install "
                "this version again"
            )
