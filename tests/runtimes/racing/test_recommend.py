"""Which entry is recommended, and the table that it stands in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runtimes import DataError
from runtimes.parity.verdict import MetricParity
from runtimes.racing.entry import Entry, Speed
from runtimes.racing.options import RaceOptions
from runtimes.racing.recommend import recommend
from runtimes.racing.report import RaceReport
from runtimes.racing.table import cut, table_rows


def speed(ms: float, batch: int = 1, spread: float = 0.0) -> Speed:
    return Speed(batch, 100, ms, ms * 1.1, spread, batch / ms * 1e3)


def entry(file: str, provider: str, ms: float, threads: int | None = 1, **more: Any) -> Entry:
    known: dict[str, Any] = {
        "in_budget": True,
        "agreement": 0.995,
        "latency": speed(ms),
        "at_batch": speed(ms * 10, 32),
        "memory_bytes": 60_000_000,
        "install_bytes": 50_000_000,
        "file_bytes": 1_000_000,
        "load_ms": 120.0,
    }
    return Entry(file, provider, threads, **{**known, **more})


def chosen(*entries: Entry, rank_by: Any = "latency") -> Entry | None:
    place, _ = recommend(entries, rank_by)
    return None if place is None else entries[place]


SLOW = entry("a.onnx", "cpu", 4.0, is_baseline=True)
FAST = entry("b.onnx", "openvino", 1.0, install_bytes=200_000_000)


def test_the_fastest_inside_the_budget_wins() -> None:
    wrong = entry("c.onnx", "opencv", 0.1, in_budget=False)
    broken = entry("c.onnx", "tract", 0.1, failed="it crashed")
    refused = Entry("c.onnx", "cpu", None, refused="an operator is missing")
    place, why = recommend((SLOW, wrong, FAST, broken, refused), "latency")
    assert place == 2
    assert why.startswith("ship b.onnx on openvino with 1 thread: the fastest of the 2 inside")
    assert "4.00× as fast as a.onnx on cpu with 1 thread" in why
    assert "99.50% of the answers the same" in why


def test_of_those_that_cannot_be_told_apart_the_smaller_one_wins() -> None:
    near = entry("b.onnx", "cpu", 1.04)
    assert chosen(FAST, near) is near
    assert chosen(FAST, replace(near, latency=speed(1.2))) is FAST
    # Launches that overlap say as little.
    assert chosen(FAST, replace(near, latency=speed(1.2, spread=0.3))).provider == "cpu"  # type: ignore[union-attr]


def test_fewer_threads_win_before_less_disk() -> None:
    more = entry("b.onnx", "cpu", 0.99, threads=8, install_bytes=1)
    assert chosen(FAST, more) is FAST


def test_an_engine_of_unknown_size_does_not_win_by_it() -> None:
    unknown = entry("b.onnx", "onnxruntime-node", 1.0, install_bytes=None)
    assert chosen(unknown, FAST) is FAST


@pytest.mark.parametrize(
    ("rank_by", "wins"),
    [("latency", "openvino"), ("throughput", "tract"), ("memory", "opencv"), ("disk", "cpu")],
)
def test_what_is_preferred_decides(rank_by: Any, wins: str) -> None:
    found = chosen(
        FAST,
        entry("b.onnx", "tract", 2.0, at_batch=speed(1.0, 32)),
        entry("b.onnx", "opencv", 2.0, memory_bytes=1_000),
        entry("b.onnx", "cpu", 2.0, install_bytes=1_000),
        rank_by=rank_by,
    )
    assert found is not None
    assert found.provider == wins


def test_nothing_to_ship() -> None:
    refused = Entry("a.onnx", "tract", None, refused="an operator is missing")
    assert "no engine runs any" in recommend((refused,), "latency")[1]
    outside = replace(SLOW, in_budget=False)
    place, why = recommend((outside, refused), "latency")
    assert place is None
    assert "none of 1 entries stays inside the budget" in why
    assert "did not run to the end" in recommend((replace(SLOW, failed="x"),), "latency")[1]


def test_an_unknown_preference_is_told_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'latency'"):
        RaceOptions(rank_by="latencies")  # type: ignore[arg-type]


def test_the_table_fits_80_columns() -> None:
    from converter.cli.plain_text import table_lines

    long = "a_model_with_a_name_that_is_much_too_long_for_any_table.onnx"
    metric = MetricParity("top1", "cpu", 0.97, 0.9654, 0.0046)
    entries = (
        entry(long, "onnxruntime-web", 1234.5, threads=16, metrics=(metric,)),
        entry("b.onnx", "cpu", 0.0123, metrics=(metric,), latency=speed(0.0123, spread=0.12)),
        Entry(long, "opencv-classic", None, refused="an operator is missing"),
    )
    lines = list(table_lines(table_rows(entries, 1), 80))
    assert max(map(len, lines)) <= 80
    assert len(lines) == 4
    assert "…" in lines[1]
    assert lines[0].split()[2] == "top1"
    assert "0.9654" in lines[1]
    assert "*" in lines[2]
    assert "not run" in lines[3]


def test_a_name_keeps_both_ends() -> None:
    assert cut("resnet_int8.onnx", 9) == "resn…onnx"
    assert cut("short", 9) == "short"


def test_reasons_stand_once_for_all_numbers_of_threads() -> None:
    outside = entry("b.onnx", "openvino", 1.0, in_budget=False, verdict="agreement 61%")
    report = RaceReport(
        "a.onnx", (SLOW, outside, replace(outside, threads=2)), 0, "ship it", "99%", 10, ()
    )
    assert report.reasons() == ["b.onnx on openvino: outside the budget: agreement 61%"]
    assert report.winner is SLOW
    assert report.passed
