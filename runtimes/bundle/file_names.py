"""Names of files in a bundle: the same on every system, and never a way out of its folder."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runtimes.bundle.faults import Fault, refusal

MANIFEST = "kilnx-bundle.json"
"""The file that makes a folder a bundle; it is written last."""

SIGNATURE = "kilnx-bundle.json.minisig"
"""The signature of the manifest's bytes, if there is one."""

UNLISTED = frozenset({MANIFEST, SIGNATURE})
"""Files that the manifest does not list: itself, and what vouches for it."""

SUFFIX = ".kilnx"
"""How the name of a bundle in one file ends."""

MOST_FILES = 10_000
LONGEST_NAME = 240

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ -]*")
# Names that mean a device on Windows, with any suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def is_plain_name(name: str) -> bool:
    """Whether a file of a bundle may be called ``name``, a path with ``/`` between its parts."""
    return len(name) <= LONGEST_NAME and all(map(_is_plain_segment, name.split("/")))


def _is_plain_segment(segment: str) -> bool:
    return (
        _SEGMENT.fullmatch(segment) is not None
        and not segment.endswith((".", " "))
        and _DEVICE.fullmatch(segment) is None
    )


def check_names(names: Iterable[str], where: str) -> None:
    """Raise ``BundleError`` unless the names can stand next to each other on every system."""
    names = list(names)
    if len(names) > MOST_FILES:
        raise refusal(
            Fault.TOO_MANY, f"{where} names {len(names)} files, and a bundle has {MOST_FILES:,}"
        )
    for name in names:
        check_name(name, where)
    _check_apart(names, where)


def check_name(name: str, where: str) -> None:
    """Raise ``BundleError`` unless a file of a bundle may be called ``name``."""
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or name[1:2] == ":":
        raise refusal(Fault.OUTSIDE, f"{where} names {name[:LONGEST_NAME]!r}, outside the bundle")
    if not is_plain_name(name):
        raise refusal(
            Fault.BAD_NAME,
            f"{where} names {name[:LONGEST_NAME]!r}; names in a bundle are ASCII letters, digits "
            "and . _ + - or spaces, with / between, and begin with a letter, a digit or _",
        )


def _check_apart(names: list[str], where: str) -> None:
    """No name twice, none that differs by case only, no file where another has its folder."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise refusal(
                Fault.CASE_COLLISION,
                f"{where} names {other!r} and {name!r}, which are one file where case is ignored",
            )
    if len(seen) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise refusal(Fault.DUPLICATE, f"{where} names {twice!r} twice")
    folders: dict[str, str] = {}
    for name in names:
        for place, letter in enumerate(name):
            if letter != "/":
                continue
            folder = name[:place]
            if folder.lower() in seen:
                raise refusal(
                    Fault.DUPLICATE,
                    f"{where} names {seen[folder.lower()]!r} as a file and as the folder of "
                    f"{name!r}",
                )
            if folders.setdefault(folder.lower(), folder) != folder:
                raise refusal(
                    Fault.CASE_COLLISION,
                    f"{where} names the folders {folders[folder.lower()]!r} and {folder!r}, which "
                    "are one where case is ignored",
                )
