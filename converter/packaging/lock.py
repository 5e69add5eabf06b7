"""``requirements.lock``: exactly what runs the model here, for pip on another machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution
from typing import Any

from converter.packaging.installed import closure, engine_extra, pinned
from converter.packaging.project import own_project

_HEAD = "# What ran this model when it was packaged: pip install --requirement requirements.lock\n"


def requirements_lock() -> str:
    """The lines of a requirements file: kilnx, its dependencies, and the ONNX Runtime that is here.

    A digest stands behind what the environment knows the installed file of. As pip wants all
    digests or none, they are comments where one is missing. Raises ``RuntimeUnavailable`` where
    something of it is not installed.
    """
    extra = engine_extra()
    needed = closure([extra])
    whole = all(map(_hashes, needed))
    own = f"kilnx[{extra}]=={own_project().version}\n"
    return _HEAD + own + "".join(_line(one, as_option=whole) for one in needed)


def _line(distribution: Distribution, *, as_option: bool) -> str:
    hashes = _hashes(distribution)
    start = " --hash=" if as_option else "  # "
    return pinned([distribution]).rstrip("\n") + "".join(start + one for one in hashes) + "\n"


def _hashes(distribution: Distribution) -> Sequence[str]:
    """Of the file that it was installed from, which pip records for files and URLs only.

    https://packaging.python.org/en/latest/specifications/direct-url-data-structure/
    """
    text = distribution.read_text("direct_url.json")
    origin: Mapping[str, Any] = json.loads(text) if text else {}
    found: Mapping[str, str] = (origin.get("archive_info") or {}).get("hashes") or {}
    return [f"{kind}:{value}" for kind, value in sorted(found.items())]
