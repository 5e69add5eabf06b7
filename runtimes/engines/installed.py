"""The engines that are installed on a machine, and what they take."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions

from runtimes.cpu_info import cpu_info, own_cores
from runtimes.engines.install_size import install_bytes
from runtimes.engines.provider_names import find_provider
from runtimes.engines.provider_table import TABLE
from runtimes.engines.providers import is_available, require_providers
from runtimes.version import installed_version

# True to the specification and slow: nobody ships it, and it takes part where it is asked for.
_NOT_BY_DEFAULT = ("reference",)


@dataclass(frozen=True)
class Engine:
    """One engine: its provider's name, its version, its bytes on disk, and if threads matter."""

    provider: str
    version: str | None
    install_bytes: int | None
    takes_threads: bool


@dataclass(frozen=True)
class Installed:
    """The engines of a machine, those that are ``absent``, its usable ``cores`` and its ``cpu``."""

    engines: tuple[Engine, ...]
    absent: tuple[str, ...]
    cores: int
    cpu: str


def find_installed(asked: Sequence[str] | None) -> Installed:
    """What this machine has: the engines that were ``asked`` for, or all that are installed."""
    absent = tuple(name for name in TABLE if not is_available(name))
    cpu = cpu_info().get("model name", platform.machine())
    return Installed(find_engines(asked), absent, usable_cores(), cpu)


def find_engines(asked: Sequence[str] | None) -> tuple[Engine, ...]:
    """The engines that were ``asked`` for, or all that are installed.

    Raises ``RuntimeUnavailable``, with the command that installs it, for the first that was asked
    for and is not there.
    """
    if asked is not None:
        names = list(dict.fromkeys(asked))
        require_providers(names)
    else:
        names = [name for name in TABLE if name not in _NOT_BY_DEFAULT and is_available(name)]
    packages = packages_distributions()
    return tuple(_engine(name, packages.get(TABLE[name].package or "", [])) for name in names)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(own_cores() or ()) or os.cpu_count() or 1


def _engine(name: str, distributions: Sequence[str]) -> Engine:
    return Engine(
        name,
        installed_version(distributions),
        install_bytes(distributions),
        "threads" in find_provider(name).options,
    )
