"""Metrics as people know them: by other names, of overlaps, pictures and boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import check, evaluate
from runtimes.errors import DataError
from runtimes.metrics.detection import MeanAveragePrecision
from runtimes.metrics.metric import open_metric
from runtimes.metrics.names import ALIASES, METRIC_NAMES, canonical, refuse_unknown
from runtimes.parity.budget import Budget


def value(name: str, output: Any, labels: Any, batch: int = 2) -> float:
    metric = open_metric(name, ["y"], [""])
    output, labels = np.asarray(output), np.asarray(labels)
    for start in range(0, len(output), batch):
        rows = slice(start, start + batch)
        metric.update({"y": output[rows]}, {"": labels[rows]}, np.arange(len(output))[rows])
    return metric.value()


@pytest.mark.parametrize("alias", [*ALIASES, "RMSE", "mIoU", "F1", "Accuracy"])
def test_other_names_are_known(alias: str) -> None:
    refuse_unknown(f"{alias}:y")
    assert open_metric(f"{alias}:y", ["y"], [""]).name.partition(":")[0] in METRIC_NAMES


def test_an_alias_keeps_output_and_drop() -> None:
    budget = Budget("F1_score:digit=0.02,rmse:ink")
    assert budget.metric == "f1:digit,rmse:ink"
    assert budget.drops == (("f1:digit", 0.02),)
    assert canonical("my.module:Acc") == "my.module:Acc"


@pytest.mark.parametrize(("wrong", "right"), [("acurasi", "accuracy"), ("rsme", "rmse")])
def test_the_one_that_was_meant_is_named(wrong: str, right: str) -> None:
    with pytest.raises(DataError, match=f"did you mean '{right}'"):
        refuse_unknown(wrong)


@pytest.mark.parametrize(
    ("head", "metric"), [("Sigmoid(s)", "binary_accuracy"), ("Softmax(x)", "top1")]
)
def test_accuracy_is_the_one_that_suits_the_output(
    head: str, metric: str, graph: Callable[[str], ir.Model]
) -> None:
    width = 1 if "Sigmoid" in head else 4
    model = graph(
        f"g (float[n, 4] x) => (float[n, {width}] y) {{"
        f"axes = Constant<value_ints = [1]>() s = ReduceSum(x, axes) y = {head} }}"
    )
    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    data = {"x": x, "labels": np.arange(32) % max(2, width)}
    report = check(model, model, data, metric="acc=0.01")
    assert [one.name for one in report.metrics] == [metric]
    assert report.passed


def test_rmse_is_the_root_over_all_samples() -> None:
    assert value("rmse", [[1.0], [2.0], [3.0]], [[1.0], [2.0], [6.0]]) == pytest.approx(
        math.sqrt(3)
    )


def test_f1_and_iou_of_one_score() -> None:
    output, labels = [0.9, 0.8, 0.2, 0.7, 0.1], [1, 0, 1, 1, 0]  # 2 right, 1 too many, 1 missed
    assert value("f1", output, labels) == pytest.approx(4 / 6)
    assert value("iou", output, labels) == pytest.approx(2 / 4)
    assert value("mean_iou", output, labels) == pytest.approx((2 / 4 + 1 / 3) / 2)
    logits = np.log(np.array(output) / (1 - np.array(output)))
    assert value("f1_logits", logits, labels) == pytest.approx(4 / 6)
    with pytest.raises(DataError, match="f1_logits"):
        value("f1", logits, labels)


def test_overlaps_of_classes_leave_out_those_that_are_nowhere() -> None:
    output = np.eye(4)[[0, 0, 1, 2]]
    labels = [0, 1, 1, 2]  # class 3 does not occur
    assert value("mean_iou", output, labels) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert value("f1", output, labels) == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert value("mean_iou", output, np.eye(4)[labels]) == value("mean_iou", output, labels)


def test_a_mask_with_classes_first_or_last_is_the_same() -> None:
    rng = np.random.default_rng(0)
    last, labels = rng.random((3, 5, 6, 4)), rng.integers(0, 4, (3, 5, 6))
    first = np.moveaxis(last, -1, 1)
    assert value("mean_iou", last, labels) == value("mean_iou", first, labels)


def test_agreement_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    output, labels = rng.random((50, 5)), rng.integers(0, 5, 50)
    said = output.argmax(axis=1)
    assert value("f1", output, labels) == pytest.approx(
        metrics.f1_score(labels, said, average="macro")
    )
    assert value("mean_iou", output, labels) == pytest.approx(
        metrics.jaccard_score(labels, said, average="macro")
    )


def test_psnr_knows_the_range_of_the_pixels() -> None:
    truth = np.zeros((2, 4, 4, 1))
    truth[:, 0, 0] = 1
    assert value("psnr", truth + 0.1, truth) == pytest.approx(20)
    assert value("psnr", 255 * truth + 25.5, 255 * truth) == pytest.approx(20)
    assert value("psnr", truth, truth) == 100


def test_ssim_is_one_for_equals_and_falls_with_noise() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((2, 24, 20, 3))
    assert value("ssim", truth, truth) == pytest.approx(1)
    little, much = (
        value("ssim", truth + rng.normal(0, s, truth.shape), truth) for s in (0.05, 0.3)
    )
    assert 1 > little > much > 0
    first = np.moveaxis(truth, -1, 1)
    noisy = truth[::-1]
    assert value("ssim", noisy, truth) == pytest.approx(
        value("ssim", np.moveaxis(noisy, -1, 1), first)
    )
    with pytest.raises(DataError, match="ssim compares pictures"):
        value("ssim", truth[0, 0], truth[0, 0])


def test_ssim_of_constants_by_hand() -> None:
    x, y = np.full((1, 16, 16), 0.5), np.full((1, 16, 16), 0.25)
    c1 = 0.01**2
    expected = (2 * 0.5 * 0.25 + c1) / (0.5**2 + 0.25**2 + c1)
    assert value("ssim", x, y) == pytest.approx(expected)


def boxes(*rows: tuple[float, ...], width: int, most: int = 3) -> Any:
    padding = (0.0,) * (width - 1) + (-1.0,)
    return [*rows, *[padding] * (most - len(rows))]


def test_map_by_hand() -> None:
    truth = [
        boxes((0, 0, 10, 10, 0), (20, 20, 30, 30, 0), width=5),
        boxes((0, 0, 10, 10, 1), width=5),
    ]
    found = [
        # A hit, the same box again, and a miss of the second one.
        boxes((0, 0, 10, 9, 0.9, 0), (0, 0, 10, 10, 0.8, 0), (50, 50, 60, 60, 0.7, 0), width=6),
        boxes((0, 0, 10, 10, 0.6, 1), (0, 0, 10, 10, 0.9, 0), width=6),
    ]
    # Class 0: hit, false alarm (0.9 of the second picture comes after), ...: recall ends at 1/2.
    metric = open_metric("map50", ["y"], [""])
    metric.update({"y": np.array(found)}, {"": np.array(truth)}, np.arange(2))
    assert isinstance(metric, MeanAveragePrecision)
    assert metric.value() == pytest.approx((1 * 0.5 + 1) / 2)
    assert metric.resampled(np.array([1])) == pytest.approx(1)


def test_map_says_what_form_it_takes() -> None:
    with pytest.raises(DataError, match=r"x1, y1, x2, y2, score and class.*\[1, 3, 4\]"):
        value("map50", np.zeros((1, 3, 4)), np.zeros((1, 3, 5)))
    with pytest.raises(DataError, match="true boxes"):
        value("map50", np.zeros((1, 3, 6)), np.full((1, 3, 5), -1.0))


def test_it_is_a_metric_of_a_model(scaled: Callable[[float], ir.Model]) -> None:
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    assert evaluate(scaled(2), {"x": x, "labels": x}, "RMSE") == pytest.approx(
        float(np.sqrt((x**2).mean())), rel=1e-5
    )
