"""The version of kilnx."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The version of the running kilnx."""
    try:
        return version("kilnx")
    except PackageNotFoundError:  # run from a clone without being installed
        return "0+unknown"
