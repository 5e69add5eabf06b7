"""How much disk an engine takes: the files of its own distribution packages."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


def install_bytes(distributions: Sequence[str]) -> int | None:
    """Bytes of all files of those ``distributions`` that are installed; None if none is.

    What they require (NumPy, say) is not counted: most programs in Python have it anyway.
    """
    found = [size for name in distributions if (size := _bytes(name)) is not None]
    return sum(found) if found else None


def _bytes(distribution: str) -> int | None:
    try:
        files = metadata.files(distribution)
    except metadata.PackageNotFoundError:
        return None
    if files is None:  # a distribution that keeps no record of its files
        return None
    paths = {Path(str(file.locate())).resolve() for file in files}
    return sum(path.stat().st_size for path in paths if path.is_file())
