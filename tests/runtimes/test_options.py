"""Options are dataclasses, and their fields are keywords, too."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from runtimes.options import KerasOptions, RunOptions, flat_options
from runtimes.progress import silent


@dataclass(frozen=True)
class Size:
    width: int = 1
    height: int = 2


@flat_options({"breadth": "width"}, size=Size, run=RunOptions)
def area(unit: str, *, size: Size = Size(), run: RunOptions = RunOptions()) -> str:
    return f"{size.width * size.height * run.threads} {unit}"


def test_fields_are_keywords() -> None:
    assert area("m") == "2 m"
    assert area("m", width=3) == area("m", size=Size(3)) == "6 m"
    assert area("m", width=3, threads=2) == "12 m"


def test_the_signature_shows_both() -> None:
    parameters = inspect.signature(area).parameters
    own = ["unit", "size", "run", "width", "height", "threads", "seed", "progress"]
    assert list(parameters) == own
    assert parameters["height"].default == 2


def test_what_is_said_twice_is_refused() -> None:
    with pytest.raises(TypeError, match=r"area\(\) got 'width' both by itself and in 'size'"):
        area("m", size=Size(), width=3)


def test_unknown_names_say_what_was_meant() -> None:
    with pytest.raises(TypeError, match=r"no option 'breadth'; it is now width$"):
        area("m", breadth=3)
    with pytest.raises(TypeError, match=r"no option 'widht'; did you mean 'width'\?"):
        area("m", widht=3)
    with pytest.raises(TypeError, match=r"no option 'colour'$"):
        area("m", colour=3)


def test_progress_is_silent_unless_given() -> None:
    told: list[str] = []
    assert RunOptions().tell is silent
    RunOptions(progress=lambda stage, done=None, total=None: told.append(stage)).tell("running")
    assert told == ["running"]


def test_keras_options_by_name() -> None:
    names = ["signature", "custom_objects", "unsafe", "signature_key", "weights"]
    assert list(KerasOptions().to_dict()) == names
