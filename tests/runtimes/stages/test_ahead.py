"""A process that has several requests at a time: which of them fails with it, and which do not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from chain_graph import chain
from onnx.parser import parse_model

from runtimes import ModelError, Pipeline, open_runtime
from runtimes.stages.partition import partition

WIDTHS = (6, 8, 8, 4)
FEEDS = [
    {"x": np.random.default_rng(seed).normal(size=(2, 6)).astype(np.float32)} for seed in range(5)
]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ahead")
    ir.save(chain(WIDTHS), folder / "chain.onnx")
    partition(folder / "chain.onnx", folder / "stages", stages=2, even_if_slower=True, costs="none")
    return folder / "stages"


@pytest.fixture(scope="module")
def expected(stages: Path) -> list[dict[str, Any]]:
    with open_runtime(stages.parent / "chain.onnx") as whole:
        return [whole.run(feed) for feed in FEEDS]


@pytest.fixture
def pipeline(stages: Path) -> Iterator[Pipeline]:
    with Pipeline(stages, depth=4) as found:
        found.run(FEEDS[0])
        yield found


def stopped(pipeline: Pipeline) -> int:
    """Let the process of the second stage do nothing any more; its number."""
    pid: int = pipeline._seats[1].runtime._process._process.pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGSTOP)
    return pid


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(np.allclose(found[name], array, atol=1e-6) for name, array in expected.items())


def given_to_second(pipeline: Pipeline, count: int) -> None:
    """Wait until the second stage has so many requests."""
    while len(pipeline._stages[1]._given) < count:  # type: ignore[attr-defined]
        time.sleep(0.001)


def test_a_process_that_dies_fails_what_it_worked_on_alone(
    pipeline: Pipeline, expected: list[dict[str, Any]]
) -> None:
    pid = stopped(pipeline)
    futures = [pipeline.submit(feed) for feed in FEEDS[:4]]
    given_to_second(pipeline, 4)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"^stage 2 of 2 \(stage-2\): .*SIGKILL"):
        futures[0].result()
    for future, wanted in zip(futures[1:], expected[1:], strict=False):
        assert same(future.result(), wanted)
    assert same(pipeline.run(FEEDS[4]), expected[4])


def test_a_process_that_does_not_answer_is_given_up(
    pipeline: Pipeline, expected: list[dict[str, Any]]
) -> None:
    process = pipeline._seats[1].runtime._process  # type: ignore[attr-defined]
    poll = process._channel.poll
    process._channel.poll = lambda seconds: poll(0.1)
    for feed, wanted in zip(FEEDS, expected, strict=True):
        assert same(pipeline.run(feed), wanted)  # nothing to do for long is not overdue
    stopped(pipeline)
    futures = [pipeline.submit(feed) for feed in FEEDS[:3]]
    with pytest.raises(ModelError, match=r"stage 2 of 2.*did not answer within"):
        futures[0].result()
    for future, wanted in zip(futures[1:], expected[1:], strict=False):
        assert same(future.result(), wanted)


def test_a_stage_that_cannot_start_again_fails_all_that_it_has(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = stopped(pipeline)
    futures = [pipeline.submit(feed) for feed in FEEDS[:3]]
    given_to_second(pipeline, 3)

    def gone(stage: Any) -> Any:
        raise ModelError("the file is gone")

    monkeypatch.setattr(pipeline._seats[1], "_start", gone)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="SIGKILL"):
        futures[0].result()
    for future in futures[1:]:
        with pytest.raises(ModelError, match=r"stage 2 of 2 \(stage-2\): the file is gone"):
            future.result()
    with pytest.raises(ModelError, match="the file is gone"):
        pipeline.run(FEEDS[0])


def test_closing_finishes_what_was_accepted_also_after_a_death(
    stages: Path, expected: list[dict[str, Any]]
) -> None:
    pipeline = Pipeline(stages, depth=4)
    pipeline.run(FEEDS[0])
    pid = stopped(pipeline)
    futures = [pipeline.submit(feed) for feed in FEEDS[:4]]
    given_to_second(pipeline, 4)
    os.kill(pid, signal.SIGKILL)
    pipeline.close()
    assert all(one.done() for one in futures)
    assert same(futures[3].result(), expected[3])
    pipeline.close()


def test_many_small_arrays_do_not_block_both_directions(tmp_path: Path) -> None:
    """More than a socket holds is under way in each direction at the same time."""
    count, width = 40, 3000
    names = range(count)
    inputs = ", ".join(f"float[n, {width}] x{one}" for one in names)
    outputs = ", ".join(f"float[n, {width}] y{one}" for one in names)
    first = " ".join(f"a{one} = Relu(x{one})" for one in names)
    second = " ".join(f"y{one} = Neg(a{one})" for one in names)
    text = (
        f'<ir_version: 10, opset_import: ["" : 18]> net ({inputs}) => ({outputs}) '
        f"{{ {first} {second} }}"
    )
    ir.save(ir.from_proto(parse_model(text)), tmp_path / "m.onnx")
    partition(tmp_path / "m.onnx", tmp_path / "stages", stages=2, even_if_slower=True, costs="none")
    feed = {f"x{one}": np.full((1, width), one - 20, np.float32) for one in names}
    with Pipeline(tmp_path / "stages", depth=4) as pipeline:
        for found in pipeline.map(feed for _ in range(20)):
            assert found["y39"][0, 0] == -19
            assert found["y0"].max() == 0
