"""A pipeline keeps the order, passes errors on by the stage's name, and outlives a process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from chain_graph import chain

from runtimes import DataError, ModelError, Pipeline, RuntimeUnavailable, open_runtime
from runtimes.stages import seat as module
from runtimes.stages.manifest import read_manifest, write_manifest
from runtimes.stages.partition import partition

WIDTHS = (6, 8, 8, 4)
FEEDS = [
    {"x": np.random.default_rng(seed).normal(size=(2, 6)).astype(np.float32)} for seed in range(12)
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "chain.onnx"
    ir.save(chain(WIDTHS), path)
    return path


@pytest.fixture(scope="module")
def stages(model: Path) -> Path:
    folder = model.parent / "stages"
    partition(model, folder, stages=2, exact=True, even_if_slower=True, costs="none")
    return folder


@pytest.fixture(scope="module")
def expected(model: Path) -> list[dict[str, Any]]:
    with open_runtime(model) as whole:
        return [whole.run(feed) for feed in FEEDS]


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_answers_are_those_of_the_whole_model_in_order(
    stages: Path, expected: list[dict[str, Any]], where: Any
) -> None:
    with Pipeline(stages, where=where) as pipeline:
        assert [spec.name for spec in pipeline.inputs] == ["x"]
        found = list(pipeline.map(FEEDS))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, array in other.items():
            np.testing.assert_array_equal(one[name], array)


def test_requests_are_read_no_faster_than_they_are_answered(
    stages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    run = module.Seat.run

    def slow(seat: Any, carried: Any) -> Any:
        held.wait()
        return run(seat, carried)

    monkeypatch.setattr(module.Seat, "run", slow)
    read: list[int] = []

    def feeds() -> Iterator[Any]:
        for number in range(50):
            read.append(number)
            yield FEEDS[0]

    with Pipeline(stages, where="threads", depth=1) as pipeline:
        done: Future[int] = Future()
        reader = threading.Thread(target=lambda: done.set_result(len(list(pipeline.map(feeds())))))
        reader.start()
        while len(read) < 4:
            threading.Event().wait(0.01)
        threading.Event().wait(0.05)
        assert len(read) < 6  # two at work, two that wait, one that is being given
        held.set()
        reader.join()
        assert done.result() == 50


def test_an_error_names_its_stage_and_concerns_its_request_alone(
    stages: Path, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pipeline(stages, where="threads") as pipeline:
        with pytest.raises(DataError, match="takes"):
            pipeline.run({"y": FEEDS[0]["x"]})
        second = module.Seat.run

        def failing(seat: Any, carried: Any) -> Any:
            if seat.title.startswith("stage 2") and len(next(iter(carried.values()))) == 1:
                raise ModelError(f"{seat.title}: it is broken")
            return second(seat, carried)

        monkeypatch.setattr(module.Seat, "run", failing)
        bad = pipeline.submit({"x": FEEDS[0]["x"][:1]})
        good = pipeline.submit(FEEDS[1])
        with pytest.raises(ModelError, match=r"stage 2 of 2 \(stage-2\)"):
            bad.result()
        for name, array in expected[1].items():
            np.testing.assert_array_equal(good.result()[name], array)


def test_a_process_that_died_is_started_again(stages: Path, expected: list[dict[str, Any]]) -> None:
    with Pipeline(stages) as pipeline:
        pipeline.run(FEEDS[0])
        seat = pipeline._seats[1]
        process = seat.runtime._process._process  # type: ignore[attr-defined]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for name, array in expected[1].items():
            np.testing.assert_array_equal(pipeline.run(FEEDS[1])[name], array)


def test_a_closed_pipeline_takes_nothing(stages: Path) -> None:
    pipeline = Pipeline(stages, where="threads")
    waiting = [pipeline.submit(feed) for feed in FEEDS[:3]]
    pipeline.close()
    assert all(one.done() for one in waiting)
    with pytest.raises(ModelError, match="is closed"):
        pipeline.submit(FEEDS[0])
    pipeline.close()


def test_an_exact_cut_is_for_its_machine(stages: Path, tmp_path: Path) -> None:
    other = tmp_path / "stages"
    other.mkdir()
    for path in stages.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    write_manifest(other, replace(read_manifest(stages), exact="onnxruntime 1.0, s390x"))
    with pytest.raises(ModelError, match="s390x"):
        Pipeline(other)


def test_a_server_that_is_away_is_named(stages: Path, tmp_path: Path) -> None:
    other = tmp_path / "stages"
    other.mkdir()
    for path in stages.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    told = read_manifest(stages)
    away = replace(told.stages[1], device="http://127.0.0.1:1/v2/models/m")
    write_manifest(other, replace(told, stages=(told.stages[0], away)))
    with pytest.raises(RuntimeUnavailable, match="is kilnx serve running there"):
        Pipeline(other, where="threads")
