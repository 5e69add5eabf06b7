"""Profiles: what is timed, what is said about it; never how long it took."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, profile
from runtimes.onnx_files.load_save import file_bytes
from runtimes.profiling.profile import BatchProfile, Latency, ProfileReport

Graph = Callable[[str], ir.Model]
Saved = Callable[..., Path]

QUICK: Any = {"min_time": 0.01, "max_time": 0.5, "threads": 1}


def test_a_model_alone(graph: Graph, saved: Saved) -> None:
    path = saved(graph("g (float[n, 4] x) => (float[n, 4] y) { y = Neg(x) }"))
    report = profile(path, batch=(1, 8, 8), **QUICK)
    assert [one.batch for one in report.batches] == [1, 8]
    assert report.size_bytes == path.stat().st_size
    for one in report.batches:
        assert 0 < one.model.p50_ms <= one.model.p90_ms <= one.model.p99_ms
        assert one.model.throughput == pytest.approx(one.batch / one.model.p50_ms * 1e3)
        assert one.model.runs >= 10
        assert one.against is one.ratio is None
    with pytest.raises(ValueError, match="not measured against"):
        report.faster()
    assert len(report.rows()) == 2


def test_a_model_against_another(scaled: Any, saved: Saved) -> None:
    path = saved(scaled(1))
    seen: list[tuple[int, int | None]] = []
    report = profile(
        path, against=scaled(2), batch=(1, 2), progress=lambda stage, *a: seen.append(a), **QUICK
    )
    assert seen[:5] == [(done, 5) for done in range(1, 6)]
    for one in report.batches:
        assert one.against is not None
        assert one.ratio_low <= one.ratio <= one.ratio_high
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["batches"][1]["against"]["runs"] == report.batches[1].model.runs
    rows = report.rows()
    assert [row["model"] for row in rows] == [str(path), "scaled"] * 2
    assert rows[0]["speed-up"].endswith(")")
    assert rows[1]["speed-up"] == "–"


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], list[int]]:
    """Let every run of the first and the second model take so many seconds; counts launches."""

    def pretend(one: float, other: float) -> list[int]:
        launches = []

        def interleave(calls: list[Any], **options: Any) -> np.ndarray:
            launches.append(len(calls))
            return np.array([[one] * 4, [other] * 4])

        monkeypatch.setattr(sys.modules["runtimes.profiling.profile"], "interleave", interleave)
        return launches

    return pretend


def test_the_ratio_is_the_speed_up_of_the_model(scaled: Any, pretended: Any) -> None:
    launches = pretended(0.002, 0.006)
    report = profile(scaled(1), against=scaled(2), batch=(4,))
    (one,) = report.batches
    assert launches == [2] * 5
    assert (one.ratio, one.ratio_low, one.ratio_high) == pytest.approx((3, 3, 3))
    assert one.model.p50_ms == pytest.approx(2)
    assert one.model.throughput == pytest.approx(2000)
    assert one.model.runs == 20
    assert one.against is not None
    assert one.against.p50_ms == pytest.approx(6)
    assert report.faster(1.9)
    assert not report.slower()


def test_an_unsure_ratio_gets_further_launches(
    scaled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = iter([1.0, 2.0, 1.0, 2.0, 1.0, *[1.5] * 20])
    seen = []

    def interleave(calls: list[Any], **options: Any) -> np.ndarray:
        return np.array([[0.001] * 4, [0.001 * next(speeds)] * 4])

    monkeypatch.setattr(sys.modules["runtimes.profiling.profile"], "interleave", interleave)
    report = profile(scaled(1), against=scaled(2), progress=lambda stage, *a: seen.append(a))
    assert len(seen) == 11
    assert seen[4:6] == [(5, 5), (6, 6)]
    assert report.batches[0].model.runs == 44


def test_slow_models_get_two_launches(scaled: Any, pretended: Any) -> None:
    launches = pretended(3.0, 4.0)
    report = profile(scaled(1), against=scaled(2), max_time=5)
    assert len(launches) == 2
    assert report.batches[0].ratio == pytest.approx(4 / 3)


def test_the_data_of_the_user_are_what_is_run(graph: Graph) -> None:
    # Looking up row 300 works with the user's indices only if these are really fed.
    table = "g (int64[n] i) => (float[n, 1] y) <float[2, 1] t = {0, 1}> { y = Gather(t, i) }"
    assert profile(graph(table), **QUICK).notes == (
        "integer inputs were filled with 0 and 1; give data to time realistic values",
    )
    assert profile(graph(table), data=np.array([0, 1, 1]), **QUICK).notes == ()
    with pytest.raises(ModelError, match=r"failed when it ran in ONNX Runtime: node .*\(Gather\)"):
        profile(graph(table), data=np.array([300]), **QUICK)
    with pytest.raises(DataError, match="expects samples of shape"):
        profile(graph(table), data=np.zeros((3, 2), int), **QUICK)


def test_dynamic_dimensions_are_noted(graph: Graph) -> None:
    model = graph("g (float[n, length] x) => (float[n, length] y) { y = Neg(x) }")
    (note,) = profile(model, **QUICK).notes
    assert "length were set to 1" in note
    assert profile(model, data=np.zeros((3, 9), np.float32), **QUICK).notes == ()


def test_a_fixed_batch_is_the_one_that_is_timed(graph: Graph, scaled: Any) -> None:
    fixed = graph("g (float[16, 4] x) => (float[16, 4] y) { y = Neg(x) }")
    report = profile(fixed, against=scaled(1), batch=(1, 2), **QUICK)
    assert [one.batch for one in report.batches] == [16]
    assert report.notes == ("g has a fixed batch size of 16 and was timed at that size only",)
    other = graph("h (float[8, 4] x) => (float[8, 4] y) { y = Neg(x) }")
    with pytest.raises(ModelError, match="different batch sizes: h 8, g 16"):
        profile(fixed, against=other, **QUICK)


def test_models_of_other_inputs_cannot_be_compared(graph: Graph, scaled: Any) -> None:
    two = graph("g (float[n, 4] a, float[n, 4] b) => (float[n, 4] y) { y = Add(a, b) }")
    with pytest.raises(ModelError, match="scaled takes 1 inputs and g takes 2"):
        profile(scaled(1), against=two, **QUICK)
    wide = graph("g (float[n, 5] x) => (float[n, 5] y) { y = Neg(x) }")
    with pytest.raises(DataError, match=r"g takes x: float32\[n, 5\], the data hold"):
        profile(scaled(1), against=wide, **QUICK)
    renamed = graph("g (float[n, 4] other) => (float[n, 4] y) { y = Neg(other) }")
    assert profile(scaled(1), against=renamed, **QUICK).batches[0].ratio


def test_keras_can_be_timed(digits_files: Path) -> None:
    path = digits_files / "model.keras"
    report = profile(path, **QUICK)
    assert report.size_bytes == path.stat().st_size
    assert report.batches[0].model.p50_ms > 0


@pytest.mark.parametrize("batch", [(), (0,), (1, -1)])
def test_batch_sizes_start_at_one(scaled: Any, batch: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        profile(scaled(1), batch=batch)


def test_a_model_is_faster_only_beyond_doubt_and_margin() -> None:
    latency = Latency(10, 1.0, 1.0, 1.0, 1000.0)

    def report(*intervals: tuple[float, float]) -> ProfileReport:
        batches = [
            BatchProfile(i, latency, latency, (low + high) / 2, low, high)
            for i, (low, high) in enumerate(intervals, 1)
        ]
        return ProfileReport("a", "b", "cpu", 1, 1, 2, tuple(batches), ())

    assert report((1.1, 1.3)).faster()
    assert report((1.1, 1.3)).faster(0.05)
    assert not report((1.1, 1.3)).faster(0.1)
    assert not report((1.1, 1.3), (0.9, 1.2)).faster()
    assert not report((0.9, 1.2)).slower()
    assert report((0.7, 0.8)).slower()
    assert report((1.5, 2.0), (0.7, 0.8)).slower(0.2)
    assert not report((0.7, 0.85)).slower(0.2)
    assert not replace(report((1.1, 1.3)), batches=report((1.0, 1.3)).batches).faster()


def test_the_size_of_a_graph_is_that_of_its_file(graph: Graph, saved: Saved) -> None:
    model = graph("g (float[n, 2] x) => (float[n, 2] y) <float[2] b = {1, 2}> { y = Add(x, b) }")
    report = profile(model, **QUICK)
    assert report.size_bytes == file_bytes(saved(model))
