"""Workers that compare shards give the report of one process, whatever happens to them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from shard_workers import workers_of_this_process

from runtimes import DataError, ModelError, Workers, check, open_runtime
from runtimes.distributed import check_shards

SAMPLES = 430
TEXT = """<ir_version: 9, opset_import: ["" : 18]>
g (float[n, 6] x) => (float[n, 4] y) <float[6, 4] w = {%s}> { y = MatMul(x, w) }"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two models that differ a little, and labelled samples."""
    folder = tmp_path_factory.mktemp("check")
    rng = np.random.default_rng(0)
    weights, x = rng.standard_normal(24), rng.standard_normal((SAMPLES, 6)).astype(np.float32)
    for name, off in (("one", 0), ("two", 0.01)):
        numbers = ", ".join(f"{one:.6f}" for one in weights + off * rng.standard_normal(24))
        ir.save(ir.from_onnx_text(TEXT % numbers), folder / f"{name}.onnx")
    labels = (x @ weights.reshape(6, 4)).argmax(axis=1)
    np.savez(folder / "data.npz", x=x, labels=labels)
    return folder / "one.onnx", folder / "two.onnx", folder / "data.npz"


def judged(given: tuple[Path, Path, Path], spread: Workers | None, **options: Any) -> str:
    report = check(*given, metric="top1", max_drop=0.2, spread=spread, **options)
    assert report.samples == SAMPLES
    return repr(report)


def test_processes_of_this_machine(given: Any) -> None:
    assert judged(given, Workers(2)) == judged(given, None)


def test_a_process_that_is_killed_changes_nothing(given: Any) -> None:
    killed: list[int] = []

    def kill_one(stage: str, done: int | None = None, total: int | None = None) -> None:
        if stage == "comparing shards" and not killed:
            killed.append(workers_of_this_process()[0])
            os.kill(killed[0], signal.SIGKILL)

    assert judged(given, Workers(2), progress=kill_one) == judged(given, None)
    assert killed


@pytest.mark.filterwarnings("ignore")  # of Dask, about ports and clocks
def test_a_cluster_that_loses_a_worker(given: Any) -> None:
    distributed = pytest.importorskip("distributed")
    killed: list[int] = []

    def kill_one(stage: str, done: int | None = None, total: int | None = None) -> None:
        if stage == "comparing shards" and not killed:
            (nanny,) = list(cluster.workers.values())[:1]
            killed.append(nanny.pid)
            os.kill(nanny.pid, signal.SIGKILL)

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        spread = Workers(cluster=cluster.scheduler_address)
        assert judged(given, spread, progress=kill_one) == judged(given, None)
    assert killed


def test_a_worker_with_other_data_is_refused(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = check_shards.map_shards

    def after_a_change(*arguments: Any, **options: Any) -> Any:
        np.savez(tmp_path / "data.npz", x=x + 1, labels=labels)
        return mapped(*arguments, **options)

    with np.load(given[2]) as data:
        x, labels = data["x"], data["labels"]
    np.savez(tmp_path / "data.npz", x=x, labels=labels)
    monkeypatch.setattr(check_shards, "map_shards", after_a_change)
    with pytest.raises(DataError, match=r"shard \d/8 is of other data: the first samples differ"):
        judged((*given[:2], tmp_path / "data.npz"), Workers(2))


def test_what_workers_cannot_open_is_refused(given: Any) -> None:
    with (
        open_runtime(given[0]) as opened,
        pytest.raises(ModelError, match="give the path of the model"),
    ):
        judged((opened, *given[1:]), Workers(2))
    with np.load(given[2]) as data:
        batches = [{"x": data["x"], "labels": data["labels"]}]
    with pytest.raises(DataError, match="shards need positions"):
        judged((*given[:2], lambda: iter(batches)), Workers(2))
