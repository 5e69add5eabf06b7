"""Who takes part: the engines that are installed, and every file in each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from runtimes.cpu_info import own_cores
from runtimes.engines.provider_names import find_provider
from runtimes.engines.provider_table import TABLE
from runtimes.engines.providers import is_available, require_providers
from runtimes.errors import ModelError
from runtimes.racing.install_size import install_bytes
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


def absent_engines() -> tuple[str, ...]:
    """The engines that could take part if they were installed."""
    return tuple(name for name in TABLE if not is_available(name))


def thread_counts(engine: Engine, asked: Sequence[int]) -> tuple[int | None, ...]:
    """How many threads an engine is tried with; one that takes no number runs once, as it likes."""
    if not engine.takes_threads:
        return (None,)
    return tuple(dict.fromkeys(asked))


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(own_cores() or ()) or os.cpu_count() or 1


def short_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file in tables: its own, or with its folder where several have the same."""
    names = [file.name for file in files]
    return {
        file: file.name if names.count(file.name) == 1 else str(Path(file.parent.name, file.name))
        for file in files
    }


def files_to_race(models: Any) -> list[Path]:
    """The paths that were given, each once; raises ``ModelError`` for what is no path."""
    given = models if isinstance(models, list | tuple) else [models]
    if not given:
        raise ModelError("there is no model to race; give the paths of ONNX files")
    for one in given:
        if not isinstance(one, str | os.PathLike):
            raise ModelError(
                f"a {type(one).__name__} cannot be raced: every engine loads it in a process of "
                "its own; save it first and give the path of the ONNX file"
            )
    return [Path(one) for one in dict.fromkeys(os.fspath(one) for one in given)]


def _engine(name: str, distributions: Sequence[str]) -> Engine:
    return Engine(
        name,
        installed_version(distributions),
        install_bytes(distributions),
        "threads" in find_provider(name).options,
    )
