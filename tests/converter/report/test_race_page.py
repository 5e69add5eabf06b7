"""The page of a race: a picture with all entries, and names that are text whatever they hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from converter.report.race_page import race_page, write_page
from converter.report.svg_race import latency_and_accuracy
from runtimes import DataError
from runtimes.parity.verdict import MetricParity
from runtimes.racing.entry import Entry, Speed
from runtimes.racing.report import RaceReport

SPEED = Speed(1, 30, 1.5, 1.8, 0.02, 667.0)
GOOD = Entry(
    "<b>int8</b>.onnx",
    "openvino",
    1,
    quantized=True,
    in_budget=True,
    verdict="agreement 99.60%",
    agreement=0.996,
    latency=SPEED,
    at_batch=replace(SPEED, batch=32),
    file_bytes=1000,
    install_bytes=10_000,
    version="2026.4",
)
OUTSIDE = replace(GOOD, provider="opencv", in_budget=False, agreement=0.61, verdict="agreement 61%")
REFUSED = Entry("model.onnx", "tract", None, refused="no form for the operator 'Loop'")
REPORT = RaceReport(
    "model.onnx",
    (GOOD, OUTSIDE, REFUSED),
    0,
    "ship <b>int8</b>.onnx on openvino",
    "agreement ≥ 99.00%",
    200,
    ("a note & more",),
    {"cpu": "some CPU", "cores": 2, "launches": 3, "engines": {"openvino": "2026.4", "web": None}},
)


def test_it_stands_alone_and_says_everything() -> None:
    page = race_page(REPORT)
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", page)
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "<b>int8" not in page
    for said in ("Ship &lt;b&gt;", "agreement 61%", "&#x27;Loop&#x27;", "a note &amp; more"):
        assert said in page
    for said in ("some CPU", "does not run", "inside", "outside", "2026.4"):
        assert said in page


def test_the_picture_has_a_mark_and_a_line_for_each_that_ran() -> None:
    picture = latency_and_accuracy(REPORT)
    assert picture.count("<circle") == 2
    assert picture.count('class="shipped"') == 1
    assert picture.count('class="outside"') == 1
    assert picture.count("<li>") == 2
    assert 'role="img"' in picture
    assert "agreement in %" in picture


def test_the_picture_is_of_the_metric_where_there_is_one() -> None:
    metric = MetricParity("top1", "", 0.97, 0.96, 0.01)
    shown = replace(REPORT, entries=(replace(GOOD, metrics=(metric,)), REFUSED))
    assert "top1 against the latency of 1 entries" in latency_and_accuracy(shown)


def test_outputs_without_noise_stand_above_those_with() -> None:
    exact = replace(GOOD, agreement=None)
    noisy = replace(exact, provider="cpu", sqnr_db=30.0)
    heights = re.findall(
        r'cy="([\d.]+)"', latency_and_accuracy(replace(REPORT, entries=(exact, noisy)))
    )
    assert float(heights[0]) < float(heights[1])


def test_nothing_ran() -> None:
    page = race_page(
        replace(REPORT, entries=(REFUSED,), recommended=None, recommendation="nothing")
    )
    assert "<circle" not in page
    assert "verdict unchanged" in page


def test_only_a_page_of_a_race_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "race.html"
    write_page(REPORT, path)
    with pytest.raises(DataError, match="exists"):
        write_page(REPORT, path)
    write_page(replace(REPORT, notes=("again",)), path, force=True)
    assert "again" in path.read_text(encoding="utf-8")
    other = tmp_path / "other.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(DataError):
        write_page(REPORT, other, force=True)
