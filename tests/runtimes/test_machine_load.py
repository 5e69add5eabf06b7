"""What else kept a machine busy while something was timed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short_measurements import as_for_users

from runtimes import machine_load
from runtimes.machine_load import LoadWatch, MachineLoad, Moment, noted

IDLE = Moment(clock=0, own=0, waited=0, used=0, stolen=0, cores=2)


def after(**changes: Any) -> MachineLoad:
    """The load of ten seconds in which these counters came to stand where they stand."""
    return MachineLoad.between(IDLE, Moment(**{**vars(IDLE), "clock": 10, **changes}))


@pytest.mark.parametrize(
    ("changes", "busy"),
    [
        ({}, False),
        ({"own": 10, "used": 10.5}, False),  # the measurement itself
        ({"own": 10, "used": 20}, True),
        ({"waited": 0.1}, False),
        ({"waited": 1}, True),
        ({"stolen": 0.1}, False),
        ({"stolen": 2}, True),
        ({"own": 10, "used": 9.98}, False),  # the kernel counts in ticks
    ],
)
def test_what_is_busy(changes: dict[str, float], busy: bool) -> None:
    assert after(**changes).is_busy == busy


def test_what_is_said_names_what_disturbed() -> None:
    assert "used 50% of its cores" in str(after(own=10, used=20))
    assert "waited 10% of the time" in str(after(waited=1))
    assert "host took 10%" in str(after(stolen=2))
    assert "waited" not in str(after(stolen=2))
    assert noted([after(), after(own=10)]) == ()
    (note,) = noted([after(waited=1), after(stolen=2)])
    assert note.startswith("this machine was busy: its host took 10%")
    assert "waited 10%" in note


def test_a_moment_is_too_short_to_tell() -> None:
    short = Moment(clock=0.01, own=0, waited=0, used=0.01, stolen=0, cores=1)
    assert not MachineLoad.between(IDLE, short).is_busy


def test_the_counters_of_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the machine as it is
    before = machine_load.now()
    assert sum(range(1_000_000)) > 0
    later = machine_load.now()
    assert later.clock > before.clock
    assert later.own > before.own
    assert later.used >= before.used >= 0
    assert later.waited >= before.waited >= 0
    assert later.cores >= 1


def test_only_the_cores_of_this_process_count() -> None:
    lines = ["cpu  9 9 9 9 9 9 9 9 0 0", "cpu0 100 200 300 4 5 6 7 50 0 0", "cpu1 1 1 1 1 1 1 1 1"]
    used, stolen = machine_load._cores([*lines, "cpu10 9 9 9 9 9 9 9 9", "ctxt 5", ""], {0})
    assert used / stolen == pytest.approx((100 + 200 + 300 + 6 + 7) / 50)


def test_a_system_that_tells_nothing_counts_as_idle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert machine_load._lines(str(tmp_path / "nothing")) == []
    assert machine_load._cores([], {0}) == (0, 0)
    assert machine_load._waited([]) == 0


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which another process uses half of both cores."""

    def moments() -> Iterator[Moment]:
        for passed in count():
            yield Moment(clock=passed, own=passed, waited=0, used=2 * passed, stolen=0, cores=2)

    found = moments()
    monkeypatch.setattr(machine_load, "now", lambda: next(found))


def test_a_watch_remembers_the_worst(busy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = LoadWatch()
    assert not watch.worst.is_busy
    assert watch.look().is_busy
    last = machine_load.now()
    monkeypatch.setattr(machine_load, "now", lambda: last)
    watch.look()
    assert not watch.look().is_busy
    assert watch.worst.is_busy
    assert len(watch.notes) == 1


MODEL = "g (float[n, 2] x) => (float[n, 2] y) { y = Neg(x) }"


def test_a_profile_takes_more_launches_and_says_so(
    busy: None, graph: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtimes import profile

    as_for_users(monkeypatch)

    def interleave(calls: list[Any], **options: Any) -> np.ndarray:
        return np.full((len(calls), 4), 0.001)

    monkeypatch.setattr(sys.modules["runtimes.profiling.profile"], "interleave", interleave)
    report = profile(graph(MODEL), against=graph(MODEL))
    assert report.batches[0].model.runs == 11 * 4
    assert report.load.is_busy
    assert any("this machine was busy" in note for note in report.notes)
    assert report.to_dict()["load"]["others"] == 0.5
    assert profile(graph(MODEL), max_time=0.004).batches[0].model.runs == 2 * 4


def test_costs_that_were_measured_on_a_busy_machine_say_so(
    busy: None, graph: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtimes.costs import open_costs

    as_for_users(monkeypatch)
    costs = open_costs("none")
    costs.predict(graph(MODEL), {"x": np.zeros((1, 2), np.float32)})
    (note,) = costs.notes
    assert note.startswith("while kernels were measured, this machine was busy")
    assert {one.launches for one in costs.table.readings.values()} == {11}
    costs.predict(graph(MODEL), {"x": np.zeros((3, 2), np.float32)})
    assert len(costs.notes) == 1
