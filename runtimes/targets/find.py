"""Targets by name: each is a small TOML file in this folder."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from runtimes.errors import DataError
from runtimes.suggestions import did_you_mean

if TYPE_CHECKING:
    from runtimes.targets.target import Refusal, Target

DEFAULT_TARGET = "onnxruntime"

_SUFFIX = ".toml"


def target_names() -> tuple[str, ...]:
    """The names of all targets: the default one first, then by the alphabet."""
    found = (one.name for one in files(__package__).iterdir() if one.name.endswith(_SUFFIX))
    names = sorted(name.removesuffix(_SUFFIX) for name in found)
    return tuple(sorted(names, key=lambda name: name != DEFAULT_TARGET))


def refuse_unknown_target(name: str) -> None:
    """Raise ``DataError`` for a name that is no target's."""
    if name not in target_names():
        known = target_names()
        raise DataError(
            f"there is no target {name!r}{did_you_mean(name, known)}; kilnx writes for: "
            f"{', '.join(known)}"
        )


def find_target(name: str | Target | None = None) -> Target:
    """The target of that name; None is the default one, and a target is itself.

    Raises ``DataError`` for a name that is no target's.
    """
    from runtimes.targets.target import Target

    if isinstance(name, Target):
        return name
    name = DEFAULT_TARGET if name is None else name
    refuse_unknown_target(name)
    return _read(name)


@cache
def _read(name: str) -> Target:
    text = files(__package__).joinpath(f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    return target_of(name, tomllib.loads(text))


def target_of(name: str, document: Mapping[str, Any]) -> Target:
    """The target that a document describes; ``TypeError`` names a key that means nothing."""
    from runtimes.targets.target import Int8Form, Target

    facts = dict(document)
    refused = _refusals(facts.pop("refused", []))
    members = [find_target(member) for member in facts.pop("every", [])]
    for member in members:
        for operator, reasons in member.refused.items():
            refused[operator] = refused.get(operator, ()) + reasons
    form = facts.pop("int8", None)
    int8 = None
    if form is not None:
        storage = frozenset(form.pop("storage", ()))
        keep_float = _refusals(form.pop("keep_float", []))
        for member in members:
            for operator, reasons in _kept_by(member).items():
                keep_float[operator] = keep_float.get(operator, ()) + reasons
        int8 = Int8Form(storage=storage, keep_float=keep_float, **form)
    also = dict.fromkeys((*facts.pop("also", ()), *(member.engine for member in members)))
    engine = facts.pop("engine")
    also.pop(engine, None)
    return Target(
        name=name,
        engine=engine,
        clock=facts.pop("clock", engine),
        also=tuple(also),
        domains=frozenset(facts.pop("domains")),
        refused=refused,
        int8=int8,
        **facts,
    )


def _refusals(groups: list[Mapping[str, Any]]) -> dict[str, tuple[Refusal, ...]]:
    from runtimes.targets.target import Refusal

    found: dict[str, tuple[Refusal, ...]] = {}
    for group in groups:
        where = {name: tuple(values) for name, values in group.get("where", {}).items()}
        for operator in sorted(group["operators"]):
            one = Refusal(
                str(group["reason"]),
                where,
                group.get("above", {}),
                tuple(group.get("computed", ())),
                group.get("slow", False),
            )
            found[operator] = (*found.get(operator, ()), one)
    return found


def _kept_by(member: Target) -> dict[str, tuple[Refusal, ...]]:
    """What ``member`` has to keep in float; what is only slow in it does not bind others."""
    kept = {} if member.int8 is None else member.int8.keep_float
    needed = {name: tuple(one for one in all_ if not one.slow) for name, all_ in kept.items()}
    return {name: reasons for name, reasons in needed.items() if reasons}
