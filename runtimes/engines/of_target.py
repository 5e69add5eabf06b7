"""The engines of a target: those that judge, that measures, and whether they are installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from runtimes.engines.open_runtime import is_keras
from runtimes.engines.provider_names import find_provider
from runtimes.engines.providers import is_available, require_providers
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError, RuntimeUnavailable
from runtimes.onnx_files.load_save import load_model
from runtimes.targets import Target, find_target


def judging_providers(target: Target) -> tuple[str, ...]:
    """Where candidates are judged: the target's own engine, and others of it that are installed."""
    return (target.engine, *(one for one in target.also if is_available(one)))


def missing_engines(target: Target) -> tuple[str, ...]:
    """A note on each further engine of ``target`` that is not installed, and so judges nothing."""
    return tuple(
        f"not judged in {find_provider(one).title}: it is not installed"
        for one in target.also
        if not is_available(one)
    )


def notes_of(target: Target) -> tuple[str, ...]:
    """What reports say of where a model for ``target`` was judged."""
    return (*target.notes, *missing_engines(target))


def require_target(target: Target) -> None:
    """Raise ``RuntimeUnavailable``, with the command that installs it, for an engine not there."""
    try:
        require_providers(dict.fromkeys((target.engine, target.clock)))
    except RuntimeUnavailable as error:
        raise RuntimeUnavailable(f"the target {target.name!r} is judged there: {error}") from error


def chosen_target(name: Target | str | None, *, providers: Sequence[str] = ("cpu",)) -> Target:
    """The target of that name, whose engines are installed.

    ``providers``: those that were asked for as well; only the default target allows others than
    ONNX Runtime on the CPU.
    """
    target = find_target(name)
    if target.is_default:
        return target
    if tuple(providers) != ("cpu",):
        raise DataError(
            f"the target {target.name!r} says where models run; leave --provider {providers[0]} out"
        )
    require_target(target)
    return target


def check_file(model: Any, target: Target) -> None:
    """Raise ``ModelError``, the node named, for an ONNX model that ``target`` does not run."""
    if target.is_default or isinstance(model, Runtime) or is_keras(model):
        return
    name = "the model" if isinstance(model, ir.Model) else str(model)
    target.check(load_model(model), name=name)
