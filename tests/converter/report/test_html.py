"""``report.html``: self-contained, complete, rendered by a browser in light and in dark."""

from __future__ import annotations

import html.parser
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.report.analysis import analyze
from converter.report.html import to_html
from converter.report.html_bars import bars, paired_bars
from converter.report.report import Measured, Report, StepReport
from converter.report.svg_charts import (
    Pair,
    Point,
    dots,
    histogram,
    lines,
    roofline,
)
from runtimes import Dataset
from runtimes.parity.stress_report import RungParity, StressReport

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def report(digits_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report of a float and an INT8 model, without the timing of ``compress``."""
    from converter.export.convert import convert
    from quantizers import QuantizeOptions, quantize_model
    from runtimes import load_model, save_model

    folder = tmp_path_factory.mktemp("report")
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    convert(digits_files / "model.keras", fp32)
    data = Dataset.open(digits_files / "test.npz", inputs=None)
    from runtimes.onnx_files.load_save import model_inputs

    data = data.bind(model_inputs(load_model(fp32)))
    quantized, _ = quantize_model(load_model(fp32), data.take(40), options=QuantizeOptions())
    save_model(quantized, int8)
    insight = analyze(fp32, int8, data, provider="cpu", threads=1)
    assert insight.notes == ()
    before = Measured(1000, 2.0, 0.9, None, 1.0, 1.0, 1.0)
    after = Measured(300, 1.0, 0.9, 40.0, 2.0, 1.9, 2.1)
    steps = (
        StepReport("dedupe", False, "nothing <equal>", before, False),
        StepReport("quantize", True, "smaller & faster", after),
    )
    return Report(
        "a<b>.keras", "top1", 0.01, 0.99, 20.0, 1, before, steps, after, ("a note",), insight
    )


class Tags(html.parser.HTMLParser):
    """Checks that tags close in order, and collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)
        found = [v for k, v in attrs if k in ("src", "href") and v]
        self.loads += [one for one in found if not one.startswith("data:")]  # it is in the page

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(report: Report) -> None:
    page = to_html(report)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.loads == []
    assert not re.search(r"https?://|url\(|@import|<script", page)
    for section in (
        "Steps", "Size", "Latency", "Why", "Error by layer", "Errors of the outputs",
        "Time by layer", "Time by operator type", "Roofline", "Operators", "Notes", "Measured on",
    ):  # fmt: skip
        assert f"<h2>{section}</h2>" in page
    assert page.count("<svg") >= 3
    assert "a&lt;b&gt;.keras" in page
    assert "nothing &lt;equal&gt;" in page
    assert "prefers-color-scheme: dark" in page
    assert "NaN" not in page


def test_a_report_without_insight_is_a_page_too(report: Report) -> None:
    page = to_html(replace(report, insight=None))
    assert "Roofline" not in page
    assert "<h2>Latency</h2>" in page


def test_what_was_looked_into_is_in_the_json(report: Report) -> None:
    insight = report.to_dict()["insight"]
    assert insight["layers"]["layers"]
    assert insight["before"]["operators"]
    assert sum(insight["errors"][0]["counts"]) > 0
    assert report.to_json()


def test_nothing_is_compared_where_the_result_is_fp32(digits_files: Path, tmp_path: Path) -> None:
    from converter.export.convert import convert

    convert(digits_files / "model.keras", tmp_path / "fp32.onnx")
    data = Dataset.open(digits_files / "test.npz")
    found = analyze(tmp_path / "fp32.onnx", tmp_path / "fp32.onnx", data, provider="cpu", threads=1)
    assert found.layers is found.after is None
    assert found.before is not None


def test_layers_are_held_against_the_model_that_has_their_channels(
    digits_files: Path, tmp_path: Path
) -> None:
    from converter.export.convert import convert

    for name in ("fp32", "pruned", "result"):
        convert(digits_files / "model.keras", tmp_path / f"{name}.onnx")
    data = Dataset.open(digits_files / "test.npz")
    fp32, pruned, result = (tmp_path / f"{name}.onnx" for name in ("fp32", "pruned", "result"))
    found = analyze(fp32, result, data, pruned=pruned, provider="cpu", threads=1)
    assert found.layers is not None
    assert found.layers_of == "the pruned model"
    found = analyze(fp32, pruned, data, pruned=pruned, provider="cpu", threads=1)
    assert found.layers is None
    assert found.errors
    assert any("other channels" in note for note in found.notes)


def test_charts_stay_inside_their_frame() -> None:
    charts = [
        lines(["a", "b", "c"], [[1.0, None, -3.0], [40.0, 2.0, 5.0]], ("x", "y"), "dB", [1]),
        histogram([-1.0, 0.0, 1.0], [1000, 0]),
        roofline([Point(1e-3, 0.01, "slow", 0.5, "first"), Point(1e3, 90.0, "fast", 0.5, "second")],
                 100.0, 10.0, ("one", "two")),
    ]  # fmt: skip
    for chart in charts:
        (width, height) = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', chart).groups())  # type: ignore[union-attr]
        for name, limit in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            for value in re.findall(rf' {name}="(-?[\d.]+)"', chart):
                assert 0 <= float(value) <= limit, (name, value)
    assert "nothing differs" in lines(["a"], [[None], [None]], ("x", "y"), "dB")


def test_bars_are_lists_with_their_texts() -> None:
    alone = bars([("a<b>", 3.0, "3 KiB"), ("b", 0.0, "0 KiB")], "Size")
    assert re.findall(r"--share:([\d.]+)", alone) == ["1.0000", "0.0000"]
    assert "a&lt;b&gt;" in alone
    assert "3 KiB" in alone
    pairs = paired_bars([("a", 3.0, None), ("b", 1.5, 3.0)], "µs", ("one", "two"), "Time")
    assert "1 channel<" in paired_bars([("a", 3.0, 1.0)], "channels", ("one", "two"))
    assert "1 µs<" in paired_bars([("a", 3.0, 1.0)], "µs", ("one", "two"))
    assert re.findall(r'class="(\w+)" style="--share:([\d.]+)', pairs) == [
        ("first", "1.0000"),
        ("first", "0.5000"),
        ("second", "1.0000"),
    ]
    assert pairs.count("two: ") == 1  # for a screen reader, which sees no colour
    assert "not measured" in bars([])
    assert "not measured" in paired_bars([("a", None, None)], "µs", ("one", "two"))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_renders_it(report: Report, tmp_path: Path, dark: bool) -> None:
    image_module = pytest.importorskip("PIL.Image")

    (tmp_path / "report.html").write_text(to_html(report), encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
        "--disable-background-networking", f"--user-data-dir={tmp_path / 'browser'}",
        "--window-size=1000,3000", f"--screenshot={tmp_path / 'page.png'}",
        *(["--force-dark-mode"] if dark else []), (tmp_path / "report.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with image_module.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)
    background = pixels[5, 5].mean()
    assert (background < 60) if dark else (background > 230)
    # Content all the way down, in the colours of both series.
    assert pixels[2000:2800].std() > 5
    blue = (pixels[..., 2] - pixels[..., 0]) > 50
    orange = (pixels[..., 0] - pixels[..., 2]) > 80
    assert blue.sum() > 1000
    assert orange.sum() > 1000


def on_rungs(*rungs: RungParity) -> StressReport:
    return StressReport.of(rungs, [("shift 3", "the reference falls <far>")], 512)


def test_rungs_are_a_picture_of_both_models_and_what_is_allowed(report: Report) -> None:
    held = RungParity("noise 0.25", "top1", 0.99, 0.985, 0.005, 0.01, 0.01)
    failed = RungParity("blur 0.7", "top1", 0.98, 0.9, 0.08, 0.01, 0.01, passed=False)
    page = to_html(replace(report, stress=on_rungs(held, failed)))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    section = page.partition("<h2>Under stress</h2>")[2].partition("<h2>")[0]
    assert section.count("<circle") == 4
    assert section.count('<circle class="blame"') == 1
    assert section.count('class="allowed"') == 2
    assert "shift 3: the reference falls &lt;far&gt;" in section
    assert "top1 0.99 → 0.985" in section


def test_a_report_without_rungs_has_no_such_picture(report: Report) -> None:
    page = to_html(report)
    assert "Under stress" not in page
    assert "<h2>Latency</h2>" in page


@pytest.mark.parametrize("up", [True, False])
def test_the_band_of_what_is_allowed_is_on_the_better_side(up: bool) -> None:
    chart = dots([Pair("noise", 1.0, 1.1, 1.2, "text")], ("a", "b"), up=up)
    edges = re.search(r'class="allowed" x="([\d.]+)" y="\d+" width="([\d.]+)"', chart)
    first, second = re.findall(r'<circle class="\w+" cx="([\d.]+)"', chart)
    assert edges is not None
    start, end = float(edges[1]), float(edges[1]) + float(edges[2])
    assert float(first) < float(second) < (start if up else end + 1e-9)
    assert (start <= float(second) <= end) is not up


def test_one_dot_and_no_spread_are_drawn_too() -> None:
    assert dots([], ("a", "b")) == '<p class="soft">not measured</p>'
    chart = dots([Pair("noise", None, 20.0, 20.0, "20 dB")], ("a", "b"))
    assert chart.count("<circle") == 1
    assert "nan" not in chart.lower()


def test_rungs_are_in_the_json(report: Report) -> None:
    endless = RungParity("noise 0.25", "auc", 0.99, 0.985, 0.005, 0.01, math.inf)
    document = json.loads(replace(report, stress=on_rungs(endless)).to_json())
    assert document["stress"]["rungs"][0]["margin"] is None
    assert document["stress"]["left_out"] == [["shift 3", "the reference falls <far>"]]
    assert document["steps"][0]["stress"] is None
    assert json.loads(report.to_json())["stress"] is None
