"""Optional dependencies: the command that installs one, for a clone or an installed package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_CLONE = Path(__file__).resolve().parents[1]


def missing_extra(package: str, extra: str, because: str = "") -> str:
    """Say that ``package`` is missing, which extra installs it, and with which command.

    Args:
        package: The missing package, as the start of a sentence, such as ``"Pillow"``.
        extra: The name of the extra in ``pyproject.toml``.
        because: What it is needed for, or the import's error message.

    Returns:
        One sentence, such as ``"Pillow is not installed (to read images); the extra 'images'
        brings it: pip install 'kilnx[images]'"``.
    """
    reason = f" ({because})" if because else ""
    return (
        f"{package} is not installed{reason}; the extra {extra!r} brings it: {pip_install(extra)}"
    )


def pip_install(extra: str, *options: str) -> str:
    """The command that adds ``extra`` to kilnx, from the source that kilnx was installed from.

    Args:
        extra: The name of the extra in ``pyproject.toml``.
        options: Options of ``pip install``, such as ``"--force-reinstall"``.

    Returns:
        A command for a shell.
    """
    return " ".join(("pip install", *options, f"'{_requirement(extra, _origin())}'"))


def _requirement(extra: str, origin: Mapping[str, Any]) -> str:
    """The requirement to give to pip: a folder, a URL, or the name of the package."""
    url, named = str(origin.get("url", "")), f"kilnx[{extra}]"
    if "dir_info" in origin:
        folder = Path(unquote(urlsplit(url).path))
        if not (folder / "pyproject.toml").is_file():
            return named  # the clone that it was installed from no longer exists
        return f".[{extra}]" if folder == Path.cwd() else f"{folder}[{extra}]"
    if "vcs_info" in origin:
        return f"{named} @ {origin['vcs_info']['vcs']}+{url}"
    return f"{named} @ {url}" if url else named


def _origin() -> Mapping[str, Any]:
    """Where kilnx was installed from; empty for a package index.

    See https://packaging.python.org/en/latest/specifications/direct-url/.
    """
    try:
        text = metadata.distribution("kilnx").read_text("direct_url.json")
    except metadata.PackageNotFoundError:  # run from a clone without being installed
        return {"url": _CLONE.as_uri(), "dir_info": {}}
    found: Mapping[str, Any] = json.loads(text) if text else {}
    return found
