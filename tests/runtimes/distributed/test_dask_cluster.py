"""Shards on a Dask cluster of processes: workers that die, and workers of another version."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shard_tasks

from runtimes.distributed import dask_cluster
from runtimes.distributed.map_shards import map_shards
from runtimes.errors import DataError, RuntimeUnavailable

distributed = pytest.importorskip("distributed")

SHARDS = [(index, 6) for index in range(6)]
SQUARES = {(index, 6): str(index**2).encode() for index in range(6)}

pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask, about ports and clocks


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler and two workers in processes of their own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(shard_tasks.__file__).parent))
    found = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with found:
        yield found
    patch.undo()


def run(cluster: Any, task: Any) -> list[tuple[Any, bytes]]:
    with map_shards(task, SHARDS, cluster=cluster.scheduler_address) as results:
        return list(results)


def test_every_shard_comes_once(cluster: Any, tmp_path: Path) -> None:
    found = run(cluster, shard_tasks.Square(str(tmp_path)))
    assert len(found) == len(SHARDS)
    assert dict(found) == SQUARES


def test_shards_of_workers_that_die_are_run_again(cluster: Any, tmp_path: Path) -> None:
    found = run(cluster, shard_tasks.DiesOnce(str(tmp_path)))
    assert len(found) == len(SHARDS)
    assert dict(found) == SQUARES


def test_what_a_task_refuses_is_refused_here(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^shard \d holds NaN$"):
        run(cluster, shard_tasks.Refuses(str(tmp_path)))


def test_workers_of_another_version_get_no_work(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "own_version", lambda: "9.9")
    with pytest.raises(RuntimeUnavailable, match=r"no worker at tcp.* has kilnx 9.9"):
        run(cluster, shard_tasks.Square(str(tmp_path)))


def test_an_answer_of_another_version_does_not_count(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "own_version", lambda: "9.9")
    monkeypatch.setattr(
        dask_cluster, "_workers", lambda client, address: list(client.run(os.getpid))
    )
    with pytest.raises(RuntimeUnavailable, match=r"lost 6 of 6 shards.*a worker has kilnx"):
        run(cluster, shard_tasks.Square(str(tmp_path)))


def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "_PATIENCE_SECONDS", 1)
    with (
        pytest.raises(RuntimeUnavailable, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"),
        map_shards(len, [(0, 1)], cluster="tcp://127.0.0.1:9"),
    ):
        pass
