"""Which kilnx this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The version of kilnx that runs."""
    try:
        return version("kilnx")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"
