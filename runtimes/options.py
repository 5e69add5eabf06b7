"""Options that public functions share, given as dataclasses or as single keywords."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, TypeVar

from runtimes.notebook import notebook_bar
from runtimes.progress import Progress, silent

R = TypeVar("R")


@dataclass(frozen=True)
class KerasOptions:
    """How a Keras model is read.

    Attributes:
        signature: Maps input names to ``(shape, dtype)``, for a model that does not record its
            inputs.
        custom_objects: Maps names in the file to the user's classes and functions.
        unsafe: Whether code inside the file (Lambda layers) may run.
        signature_key: Which signature of a SavedModel to use, if not its default.
        weights: File of weights, for a model in JSON or to replace the file's own.
    """

    signature: Any = None
    custom_objects: Mapping[str, Any] | None = None
    unsafe: bool = False
    signature_key: str | None = None
    weights: str | os.PathLike[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The options as keyword arguments for the functions that read Keras models."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True)
class RunOptions:
    """How models run while they are measured.

    Attributes:
        threads: Number of threads per run.
        seed: Seed of all random numbers.
        progress: Called to report progress; None: a bar in a notebook, else nothing.
    """

    threads: int = 1
    seed: int = 0
    progress: Progress | None = field(default=None, compare=False)

    @property
    def tell(self) -> Progress:
        """``progress``, or a function that does nothing."""
        return self.progress or silent


def flat_options(
    moved: Mapping[str, str] | None = None, **groups: type
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a function that takes option dataclasses also take their fields as keywords.

    ``groups`` maps parameters of the function to their dataclasses. ``f(metric="top1")`` is then
    ``f(budget=Budget(metric="top1"))``. Giving both a dataclass and one of its fields raises
    ``TypeError``. So does an unknown name: the message suggests the closest known one or, for a
    name in ``moved``, its new name.
    """
    renamed = dict(moved or {})

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function)
        signature = _flat_signature(own, groups)

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> R:
            for name in keywords:
                if name not in signature.parameters:
                    raise TypeError(_unknown(function.__name__, name, signature, renamed))
            given = _grouped(function.__name__, own, keywords, groups)
            run = given.get("run", RunOptions()) if groups.get("run") is RunOptions else None
            if run is None or run.progress is not None:
                return function(*arguments, **given)
            with notebook_bar(function.__name__) as bar:
                return function(*arguments, **{**given, "run": replace(run, progress=bar)})

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


def _grouped(
    function: str,
    own: inspect.Signature,
    keywords: Mapping[str, Any],
    groups: Mapping[str, type],
) -> dict[str, Any]:
    left = dict(keywords)
    for group, kind in groups.items():
        names = [
            one.name for one in fields(kind) if one.name in left and one.name not in own.parameters
        ]
        if not names:
            continue
        if group in left:
            raise TypeError(f"{function}() got {names[0]!r} both by itself and in {group!r}")
        left[group] = kind(**{name: left.pop(name) for name in names})
    return left


def _flat_signature(own: inspect.Signature, groups: Mapping[str, type]) -> inspect.Signature:
    """A function's own parameters, then the fields of its groups, all as keyword-only."""
    flat = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if one.default is MISSING else one.default,
            annotation=one.type,
        )
        for kind in groups.values()
        for one in fields(kind)
        if one.name not in own.parameters
    ]
    return own.replace(parameters=[*own.parameters.values(), *flat])


def _unknown(
    function: str, name: str, signature: inspect.Signature, renamed: Mapping[str, str]
) -> str:
    message = f"{function}() has no option {name!r}"
    if name in renamed:
        return f"{message}; it is now {renamed[name]}"
    near = difflib.get_close_matches(name, signature.parameters, n=1)
    return f"{message}; did you mean {near[0]!r}?" if near else message
