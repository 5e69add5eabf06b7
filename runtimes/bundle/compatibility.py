"""Whether the runtime here is the one that a bundle was proven with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runtimes.version import installed_version

# Distributions that are one another: each installs ONNX Runtime.
_ONNX_RUNTIME = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
# The distribution of an engine by the target that needs it, where that is not ONNX Runtime.
_OF_TARGET = {"openvino": "openvino", "opencv": "opencv-python-headless", "tract": "tract"}
ENGINES = (*_ONNX_RUNTIME, *_OF_TARGET.values())
"""Distributions of engines: what a model computes hangs on their versions."""


def installed_engines(target: str = "onnxruntime") -> dict[str, str]:
    """The versions of the engines that a model for ``target`` runs on here."""
    names = (*_ONNX_RUNTIME, *([_OF_TARGET[target]] if target in _OF_TARGET else []))
    found = {name: installed_version([name]) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def engine_notes(proven: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each engine that is another one here than in the proof."""
    notes = [_note(name, version) for name, version in sorted(proven.items()) if name in ENGINES]
    return tuple(note for note in notes if note)


def _note(name: str, proven: str) -> str:
    same = _ONNX_RUNTIME if name in _ONNX_RUNTIME else (name,)
    here = installed_version(same)
    if here is None:
        return f"the model was proven with {name} {proven}, which is not installed here"
    if _release(here) == _release(proven):
        return ""
    age = "an older" if _numbers(here) < _numbers(proven) else "a newer"
    return (
        f"the model was proven with {name} {proven}, and {here} is installed here, {age} one; "
        "kilnx check says whether it still does the same job"
    )


def _release(version: str) -> list[int]:
    """Major and minor number: what is behind them fixes faults."""
    return _numbers(version)[:2]


def _numbers(version: str) -> list[int]:
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(part) for part in found[0].split(".")] if found else []
