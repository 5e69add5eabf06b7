"""The first screen of the report, answers before and after, weights by layer; and in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graph_fixtures import graph  # noqa: F401

from converter.report.analysis import Insight
from converter.report.answers import Answers, compare_answers
from converter.report.html import to_html
from converter.report.pictures import png, sample_html
from converter.report.report import Judged, Measured, Report, StepReport
from converter.report.svg_small import budget_bar, confusion, trade_off, treemap
from converter.report.weights_by_layer import LayerWeights, weights_by_layer
from quantizers.low_bit.store import store_weight
from quantizers.low_bit.weight import LowBitWeight
from runtimes import Dataset, load_model
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.layer_names import LAYER_KEY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BEFORE = Measured(900_000, 0.3, 0.9930, None, None, 1.0, 1.0, 1.0)
AFTER = Measured(90_000, 0.1, 0.9880, None, 25.0, 3.0, 2.9, 3.1)
WORSE = Measured(40_000, 0.05, 0.9000, None, 12.0, 6.0, 5.9, 6.1)
CUTS = {
    "before": {"parameters": 1000},
    "tried": [
        {"share": 0.6, "drop": 0.001, "passed": True, "parameters": 600, "agreement": None},
        {"share": 0.3, "drop": 0.03, "passed": False, "parameters": 200, "agreement": None},
    ],
    "groups": [{"layers": ["conv"], "before": 64, "after": 30}],
}
ANSWERS = Answers(
    "y",
    ("a", "b", "<c>"),
    6,
    1,
    ((2, 0, 0), (0, 2, 0), (0, 0, 2)),
    ((2, 0, 0), (1, 1, 0), (0, 0, 2)),
    (),
)


@pytest.fixture
def report() -> Report:
    steps = (
        StepReport("prune", True, "why", AFTER, True, CUTS),
        StepReport("quantize", False, "outside the budget", WORSE),
    )
    layers = (LayerWeights("conv", 4096, 32.0), LayerWeights("head", 1024, 32.0))
    insight = Insight(answers=ANSWERS, weights_before=layers, weights_after=layers)
    return Report(
        "digits.keras", "top1", 0.01, 0.99, 20.0, 1, BEFORE, steps, AFTER, (), insight,
        files={"model.onnx": "ab" * 32},
        judged=(Judged("top1", 0.005, -0.001, 0.012, 0.01),),
        seed=7,
        command="kilnx compress digits.keras -o out",
    )  # fmt: skip


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]))


def test_the_first_screen_says_it_all(report: Report) -> None:
    page = to_html(report)
    text = text_of(page)
    start = text.index("digits.keras")
    for said in ("Inside the budget with prune", "10.00× smaller", "3.00× as fast", "top1 0.988"):
        assert said in text[start : start + 600]
    assert "top1: 0.005 lost, 0.01 allowed" in text
    assert "95% interval -0.001 to 0.012" in text
    for fact in ("kilnx compress digits.keras -o out", "seed", "SHA-256 " + "ab" * 32):
        assert fact in text
    assert re.search(r"conv\s+fp32:\s+64 channels\s+result:\s+30 channels", text)


def test_nothing_kept_is_a_verdict_too(report: Report) -> None:
    steps = tuple(replace(step, kept=False) for step in report.steps)
    page = to_html(replace(report, steps=steps, result=BEFORE, judged=()))
    assert "Nothing was changed" in text_of(page)
    assert "Channels before and after" not in page


def test_without_labels_the_bar_is_of_agreement(report: Report) -> None:
    result = replace(AFTER, metric=None, agreement=0.995)
    unlabelled = replace(report, metric_name=None, judged=(), result=result)
    text = text_of(to_html(unlabelled))
    assert "answers that differ: 0.005 lost, 0.01 allowed" in text
    assert "SQNR 25.0 dB, at least 20.0 dB" in text


def test_every_chart_has_a_name_and_every_id_of_a_region_is_unique(report: Report) -> None:
    page = to_html(report)
    charts = re.findall(r"<svg[^>]*>", page)
    assert charts
    assert all('role="img"' in one and "aria-label=" in one for one in charts)
    regions = re.findall(r'role="region" aria-label="([^"]+)"', page)
    assert len(set(regions)) == len(regions)


def test_the_report_holds_what_repeats_it(report: Report) -> None:
    document = json.loads(report.to_json())
    assert (document["seed"], document["command"]) == (7, "kilnx compress digits.keras -o out")
    assert document["judged"][0]["allowed"] == 0.01


def test_a_loss_beyond_what_is_allowed_is_marked() -> None:
    assert "spent over" in budget_bar(Judged("top1", 0.02, 0.0, 0.05, 0.01))
    assert "spent over" not in budget_bar(Judged("top1", -0.02, None, None, 0.01))


def test_refused_trials_are_rings() -> None:
    from converter.report.svg_small import Trial

    chart = trade_off(
        [
            Trial("kept", 0.5, 0.001, 0.3, True, True),
            Trial("lost", 0.2, 0.5, 0.1, False, True),
        ],
        0.01,
        "loss",
    )
    assert chart.count('class="dot"') == 1
    assert chart.count('class="ring refused"') == 1
    assert "lost: 0.20 of the time, 0.10 of the size, 0.5 lost" in chart


def test_confusion_counts_what_is_wrong() -> None:
    chart = confusion(ANSWERS.after, ANSWERS.classes, "result")
    assert "result: 1 wrong" in chart
    assert "&lt;c&gt; answered &lt;c&gt;: 2" in chart


def test_a_treemap_is_as_large_as_its_bytes_and_gathers_the_small() -> None:
    layers = [LayerWeights(f"layer_{i}", 1000, 8.0) for i in range(40)]
    chart = treemap(layers, "result", most=10)
    sides = re.findall(r'width="([\d.]+)" height="([\d.]+)"', chart)
    areas = [float(w) * float(h) for w, h in sides]
    assert len(areas) == 10
    assert sum(areas) == pytest.approx(360 * 220, rel=0.01)
    assert max(areas) / min(areas) == pytest.approx(31, rel=0.1)
    assert "31 others: 30.3 KiB, 8 bits" in chart


def test_weights_belong_to_the_layer_behind_their_codes(
    graph: Callable[..., ir.Model],  # noqa: F811
    tmp_path: Path,
) -> None:
    model = graph(
        "(float[n, 16] x) => (float[n, 4] y)",
        "w = DequantizeLinear(q, s) a = MatMul(x, w) y = Add(a, b)",
        q=np.ones((16, 4), np.int8),
        s=np.float32(0.1),
        b=np.ones(4, np.float32),
    )
    for node in model.graph:
        if node.op_type != "DequantizeLinear":
            node.metadata_props[LAYER_KEY] = "dense"
    ir.save(model, tmp_path / "m.onnx")
    (found,) = weights_by_layer(tmp_path / "m.onnx")
    assert (found.layer, found.bytes) == ("dense", 64 + 4 + 16)
    assert found.bits == pytest.approx(8 * 84 / 69, abs=0.05)


def test_packed_weights_belong_to_their_layer_in_bits_of_their_codes(
    graph: Callable[..., ir.Model],  # noqa: F811
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    model = graph(
        "(float[n, 16] x) => (float[n, 8] y)",
        "y = MatMul(x, w)",
        w=rng.normal(size=(16, 8)).astype(np.float32),
    )
    model.graph[0].metadata_props[LAYER_KEY] = "dense"
    weight = model.graph.initializers["w"]
    codes = rng.integers(-8, 8, (16, 8)).astype(np.int8)
    codebook = np.linspace(-1, 1, 16, dtype=np.float32)
    store_weight(model.graph, weight, LowBitWeight(codes, 4, codebook, None, codes.shape))
    ir.save(model, tmp_path / "m.onnx")
    found = {one.layer: one for one in weights_by_layer(tmp_path / "m.onnx")}
    assert found.keys() == {"dense", "unpacking tables"}
    codes_codebook_and_shape = (64, 64, 16)
    assert found["dense"].bytes == sum(codes_codebook_and_shape)
    assert found["dense"].bits == pytest.approx(8 * 144 / (128 + 16 + 2), abs=0.05)


def test_changed_answers_are_found_and_shown(
    graph: Callable[..., ir.Model],  # noqa: F811
    tmp_path: Path,
) -> None:
    flip = np.float32([[1, 0, 0], [0, 1, 0], [0, 1, 0]])  # class 2 answers 1
    for name, weights in (("fp32", np.eye(3, dtype=np.float32)), ("result", flip)):
        model = graph("(float[n, 3] x) => (float[n, 3] y)", "y = MatMul(x, w)", w=weights)
        ir.save(model, tmp_path / f"{name}.onnx")
    x = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    data = Dataset.open({"x": x, "labels": np.array([0, 1, 2, 1])})
    data = data.bind(model_inputs(load_model(tmp_path / "fp32.onnx")))
    found = compare_answers(tmp_path / "fp32.onnx", tmp_path / "result.onnx", data, "cpu", 1)
    assert found is not None
    assert (found.samples, found.changed) == (4, 2)
    assert found.before == ((1, 0, 0), (0, 1, 1), (0, 0, 1))
    assert found.after == ((1, 0, 0), (0, 2, 0), (0, 1, 0))
    first, second = found.shown
    assert (first.sample, first.label, first.before, first.after) == (2, "2", "2", "1")
    assert second.label == "1"
    assert first.shown == "<q>0, 0, 1</q>"


def test_samples_are_shown_as_what_they_are() -> None:
    picture = sample_html({"image": np.zeros((8, 8, 1), np.float32)}, "sample 3")
    assert 'alt="sample 3, image"' in picture
    assert "data:image/png;base64," in picture
    assert "<polyline" in sample_html({"series": np.sin(np.arange(50.0))}, "sample 3")
    words = sample_html({"text": np.array(["<b>", "two"])}, "sample 3")
    assert words == "<q>&lt;b&gt; two</q>"


def test_a_png_holds_its_pixels() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    data = png(pixels)
    start = data.index(b"IDAT") + 4
    rows = zlib.decompress(data[start : data.index(b"IEND") - 8])
    assert np.frombuffer(rows, np.uint8).reshape(4, 7)[:, 1:].tolist() == pixels.tolist()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_it_is_no_wider_than_a_telephone_and_prints(report: Report, tmp_path: Path) -> None:
    """Charts and tables scroll by themselves; the page does not."""
    # A window has a least width, which a frame has not.
    inner = escape(to_html(report), quote=True)
    probe = (
        "const inner = frames[0].document.documentElement;"
        "document.title = 'overflow ' + (inner.scrollWidth - inner.clientWidth)"
    )
    page = tmp_path / "frame.html"

    def chromium(*arguments: str) -> str:
        common = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/c"]
        done = subprocess.run(
            [str(CHROMIUM), *common, *arguments, page.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout

    for width in (390, 1280):
        frame = f'<iframe srcdoc="{inner}" style="width:{width}px" onload="{probe}"></iframe>'
        page.write_text(f"<!doctype html><title>none</title>{frame}", encoding="utf-8")
        assert "<title>overflow 0</title>" in chromium("--window-size=1400,900", "--dump-dom")
    page.write_text(to_html(report), encoding="utf-8")
    chromium(f"--print-to-pdf={tmp_path}/page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
