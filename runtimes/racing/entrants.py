"""Who takes part: every file in every engine, with every number of threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtimes.engines.installed import Engine
from runtimes.errors import ModelError


def thread_counts(engine: Engine, asked: Sequence[int]) -> tuple[int | None, ...]:
    """How many threads an engine is tried with; one that takes no number runs once, as it likes."""
    if not engine.takes_threads:
        return (None,)
    return tuple(dict.fromkeys(asked))


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
