"""Shards in processes: every one counts once, whatever happens to the processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import shard_tasks

from runtimes.distributed.answers import Answer, WorkerDefect
from runtimes.distributed.map_shards import map_shards
from runtimes.errors import DataError, RuntimeUnavailable

SHARDS = [(index, 6) for index in range(6)]
SQUARES = {(index, 6): str(index**2).encode() for index in range(6)}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started find the tasks of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(Path(shard_tasks.__file__).parent))


def run(task: Any, workers: int = 2) -> list[tuple[Any, bytes]]:
    with map_shards(task, SHARDS, workers=workers) as results:
        return list(results)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_shard_comes_once(tmp_path: Path, workers: int) -> None:
    found = run(shard_tasks.Square(str(tmp_path)), workers)
    assert len(found) == len(SHARDS)
    assert dict(found) == SQUARES


def test_shards_of_processes_that_die_are_run_again(tmp_path: Path) -> None:
    found = run(shard_tasks.DiesOnce(str(tmp_path)))
    assert len(found) == len(SHARDS)
    assert dict(found) == SQUARES
    assert len(list(tmp_path.glob("1-*"))) >= 2


def test_a_shard_that_hangs_is_run_elsewhere(tmp_path: Path) -> None:
    found = run(shard_tasks.HangsOnce(str(tmp_path)))
    assert len(found) == len(SHARDS)
    assert dict(found) == SQUARES


def test_a_shard_that_kills_every_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"3 processes died over .*3, 6.*SIGKILL"):
        run(shard_tasks.Dies(str(tmp_path)))


def test_what_a_task_refuses_is_refused_here(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^shard \d holds NaN$"):
        run(shard_tasks.Refuses(str(tmp_path)))
    with pytest.raises(WorkerDefect, match="ZeroDivisionError"):
        run(shard_tasks.Breaks(str(tmp_path)))


def test_no_process_stays_when_the_results_are_left(tmp_path: Path) -> None:
    with map_shards(shard_tasks.Square(str(tmp_path)), SHARDS, workers=2) as results:
        next(iter(results))
    for note in tmp_path.glob("*-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.name.rpartition("-")[2]), 0)


def test_what_cannot_be_sent_and_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give a path or arrays"):
        run(lambda shard: b"")
    with pytest.raises(DataError, match="at least one worker"):
        run(shard_tasks.Square(str(tmp_path)), workers=0)


def test_an_error_that_is_not_known_here_is_a_defect() -> None:
    with pytest.raises(WorkerDefect, match="what it said"):
        Answer("1", error="SomethingElse", message="what it said").unwrap()
