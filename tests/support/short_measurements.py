"""Measurements of moments: what commands do with times is tested, not how exact the times are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

# Of what a launch is timed for by default, a tenth.
_SECONDS_A_LAUNCH = 0.02

# By module. Two launches make an interval; cost tables and the roof are taken as usual, on less.
_SHORT: dict[str, dict[str, Any]] = {
    "runtimes.profiling.profile": {"_LAUNCHES": 2, "_MAX_LAUNCHES": 2},
    "runtimes.profiling.roofline": {"_SIDE": 96, "_COPY_BYTES": 1_000_000, "_REPEATS": 2},
    "runtimes.costs.workbench": {"_IN_SITU_RUNS": 6},
    "runtimes.costs.measure": {
        "_FEWEST_LAUNCHES": 2,
        "_MOST_LAUNCHES": 2,
        "_FEWEST_ROUNDS": 4,
        "_MOST_ROUNDS": 8,
        "_QUICK_ROUNDS": 2,
        "_RUNS_OF_NOTHING": 50,
        "_SECONDS_A_LAUNCH": 0.1,
    },
}


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Let races, cost tables and profiles of this process take little time."""
    _keep_usual()
    interleave = _USUAL["runtimes.profiling.profile"]["interleave"]

    def briefly(calls: Any, *, min_time: float, **options: Any) -> Any:
        return interleave(calls, min_time=min(min_time, _SECONDS_A_LAUNCH), **options)

    _set(patch, _SHORT)
    _set(patch, {"runtimes.profiling.profile": {"interleave": briefly}})


def as_for_users(patch: pytest.MonkeyPatch) -> None:
    """Undo it, for tests of measuring itself."""
    _set(patch, _USUAL)


_USUAL: dict[str, dict[str, Any]] = {}


def _keep_usual() -> None:
    for name, constants in _SHORT.items():
        module = import_module(name)
        _USUAL[name] = {constant: getattr(module, constant) for constant in constants}
    profile = "runtimes.profiling.profile"
    _USUAL[profile]["interleave"] = import_module(profile).interleave


def _set(patch: pytest.MonkeyPatch, values: dict[str, dict[str, Any]]) -> None:
    for name, constants in values.items():
        for constant, value in constants.items():
            patch.setattr(import_module(name), constant, value)
