"""kilnx' own metadata: of the clone that it runs from, else as it was installed.

A clone that was installed as editable may have moved on since: what is imported counts.

https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_string
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from runtimes.errors import RuntimeUnavailable

_ROOT = Path(__file__).resolve().parents[2]
_ENTRY_POINTS = "[console_scripts]\nkilnx = converter.__main__:main\n"


@dataclass(frozen=True)
class Project:
    """Core metadata and what they say.

    Attributes:
        text: The metadata, as a wheel has them.
        version: The version.
        requires: All requirements, with their markers.
        extras: The names of the extras.
    """

    text: str
    version: str
    requires: tuple[str, ...]
    extras: frozenset[str]

    def wheel_files(self) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of what a wheel says of itself, but for its list of files."""
        folder = f"kilnx-{self.version}.dist-info"
        yield f"{folder}/METADATA", self.text.encode()
        yield f"{folder}/entry_points.txt", _ENTRY_POINTS.encode()


def own_project(root: Path = _ROOT) -> Project:
    """The metadata of the running kilnx; ``root`` is the folder that its packages are in.

    Raises:
        RuntimeUnavailable: It neither runs from a clone nor is it installed.
    """
    clone = root / "pyproject.toml"
    if clone.is_file():
        with clone.open("rb") as file:
            text = "".join(f"{line}\n" for line in _metadata(tomllib.load(file)["project"]))
    else:
        text = _installed_metadata()
    parsed = message_from_string(text)
    return Project(
        text,
        parsed["Version"],
        tuple(parsed.get_all("Requires-Dist") or ()),
        frozenset(canonicalize_name(name) for name in parsed.get_all("Provides-Extra") or ()),
    )


def _installed_metadata() -> str:
    try:
        text = metadata.distribution("kilnx").read_text("METADATA")
    except metadata.PackageNotFoundError:
        text = None
    if text is None:
        raise RuntimeUnavailable(
            "kilnx itself is not installed, so that its requirements are not known; install it "
            "with pip install"
        )
    return text


def _metadata(project: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the metadata for the table ``project`` of a ``pyproject.toml``."""
    yield "Metadata-Version: 2.1"
    yield f"Name: {project['name']}"
    yield f"Version: {project['version']}"
    yield f"Requires-Python: {project['requires-python']}"
    yield from (f"Requires-Dist: {one}" for one in project["dependencies"])
    for extra, added in project.get("optional-dependencies", {}).items():
        yield f"Provides-Extra: {extra}"
        for one in added:
            requirement, _, marker = (part.strip() for part in one.partition(";"))
            condition = f'({marker}) and extra == "{extra}"' if marker else f'extra == "{extra}"'
            yield f"Requires-Dist: {requirement}; {condition}"
