"""Progress: counts and estimates, parts of a whole, and a bar in a notebook."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from runtimes.options import RunOptions, flat_options
from runtimes.progress import Clock, duration, within


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (125.2, "2 min 05 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_estimate_needs_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0])
    monkeypatch.setattr("runtimes.progress.time.monotonic", lambda: next(now))
    clock = Clock()
    clock.tell("judging", None, None)
    assert clock.left() is None
    clock.tell("judging", 1, 4)
    assert clock.left() == pytest.approx(6.0)  # two seconds for one of four


def test_a_stage_names_what_it_is_part_of() -> None:
    told: list[Any] = []
    within(lambda *args: told.append(args), "prune (2 of 3)")("ranking", 1, 2)
    assert told == [("prune (2 of 3): ranking", 1, 2)]


@flat_options(run=RunOptions)
def outer(*, run: RunOptions = RunOptions()) -> None:
    run.tell("working", 1, 2)
    inner()


@flat_options(run=RunOptions)
def inner(*, run: RunOptions = RunOptions()) -> None:
    run.tell("inside")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook was given to show."""
    shown: list[str] = []
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    display.HTML = str  # type: ignore[attr-defined]

    def show(html: str, display_id: bool) -> Any:
        shown.append(html)
        return SimpleNamespace(update=shown.append)

    display.display = show  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_notebook_shows_one_bar_and_how_long_it_took(notebook: list[str]) -> None:
    outer()
    bar, last = notebook
    assert 'value="1" max="2"' in bar
    assert "working, 1 of 2" in bar
    assert last.startswith("<p>outer took ")


def test_progress_of_the_callers_own_takes_the_place_of_the_bar(notebook: list[str]) -> None:
    told: list[str] = []
    outer(run=RunOptions(progress=lambda stage, done=None, total=None: told.append(stage)))
    assert told == ["working"]
    assert not any("working" in html for html in notebook)
