"""The versions of kilnx and of what it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version


def installed_version(distributions: Sequence[str]) -> str | None:
    """The version of the first of ``distributions`` that is installed; None if none is."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def own_version() -> str:
    """The version of the running kilnx."""
    return installed_version(["kilnx"]) or "0+unknown"  # in a clone that is not installed
