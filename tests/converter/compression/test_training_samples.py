"""Samples that a model knows too well are told to the user; others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.compression.compress import compress
from converter.compression.training_samples import looks_like_training
from runtimes.data.dataset import Dataset
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files.load_save import model_inputs
from runtimes.parity.check import evaluate

MODEL = ir.from_onnx_text(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[batch, 4] x) => (float[batch, 4] y) '
    "{ y = Identity(x) }"
)


def samples(count: int, right: float, name: str = "x") -> Dataset:
    """So many samples; the model is right about a share of them."""
    rng = np.random.default_rng(count)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    labels = x.argmax(axis=1)
    wrong = np.arange(count) >= round(right * count)
    found = Dataset.open(
        {"x": x, "labels": np.where(wrong, (labels + 1) % 4, labels)}, inputs=model_inputs(MODEL)
    )
    found.name = name
    return found


def note(calibration: Dataset, evaluation: Dataset, metric: str = "top1") -> str | None:
    with OrtRuntime(MODEL, threads=1) as runtime:
        reached = evaluate(runtime, evaluation, metric)
        return looks_like_training(runtime, calibration, evaluation, metric, reached)


@pytest.mark.parametrize(
    ("known", "new", "said"),
    [
        (1.0, 0.93, True),
        (0.97, 0.80, True),
        (0.93, 0.93, False),
        (1.0, 0.99, False),  # by chance
        (0.90, 0.99, False),
        (1.0, 1.0, False),  # an easy task
    ],
)
def test_what_is_known_better_than_new_samples_is_told(
    known: float, new: float, said: bool
) -> None:
    found = note(samples(250, known, "a"), samples(400, new, "b"))
    assert (found is not None) == said
    if found is not None:
        assert "give samples that training never saw" in found
        assert f"{new:.4f}" in found


@pytest.mark.parametrize(("right", "said"), [(1.0, True), (0.96, False)])
def test_one_data_set_that_is_known_by_heart_is_told(right: float, said: bool) -> None:
    found = note(samples(250, right), samples(250, right))
    assert (found is not None) == said


@pytest.mark.parametrize("case", ["few samples", "no labels", "another metric"])
def test_where_nothing_can_be_said(case: str) -> None:
    calibration: Any = samples(20 if case == "few samples" else 250, 1.0, "a")
    calibration = calibration.without_labels() if case == "no labels" else calibration
    evaluation = samples(400, 0.5, "b")
    with OrtRuntime(MODEL, threads=1) as runtime:
        metric = "mse" if case == "another metric" else "top1"
        assert looks_like_training(runtime, calibration, evaluation, metric, 0.5) is None


@pytest.mark.parametrize("fits", [True, False])
def test_compress_says_so_in_report_and_terminal(fits: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4)).astype(np.float32)
    labels = x.argmax(axis=1)
    known = {"x": x[:300], "labels": labels[:300] if fits else labels[:300] + 0.5}
    new = {"x": x[300:], "labels": np.where(np.arange(300) < 60, 0, labels[300:])}
    told: list[str] = []
    report = compress(
        MODEL,
        tmp_path / "out",
        known,
        evaluate_on=new,
        metric="top1",
        steps=("dedupe",),
        progress=lambda what, *_: told.append(what),
    )
    for texts in (report.notes, told):
        assert any("look like training samples" in text for text in texts) == fits
