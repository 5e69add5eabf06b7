"""The judgement on held-out data: how much is lost, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from random_graphs import Builder

from converter.judge import Budget
from converter.pruning.objective import judge, share_of
from runtimes.dataset import Dataset
from runtimes.modelfile import model_inputs


def scores(shift: float = 0.0, noise: float = 0.0) -> ir.Model:
    """Gives its input back, with a shift of the first class and fixed noise on top."""
    build = Builder(0)
    x = build.input(["N", 4])
    matrix = np.eye(4) + noise * np.random.default_rng(0).normal(size=(4, 4))
    product = build.op("MatMul", x, build.constant(matrix))
    return build.model(build.op("Add", product, build.constant([shift, 0, 0, 0])))


def samples(count: int, seed: int = 0) -> dict[str, Any]:
    x = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return {"x": x, "labels": x.argmax(axis=1)}


def bound(data: dict[str, Any]) -> Dataset:
    return Dataset.open(data, inputs=model_inputs(scores()))


LABELLED = Budget("top1", 0.05, 0.99, 20.0)
UNLABELLED = Budget(None, 0.05, 0.9, 20.0)


def test_the_drop_over_all_models_together() -> None:
    parts = [samples(60, 1), samples(40, 2)]
    models = [scores(0.3), scores(-0.4)]
    found = judge(scores(), [(m, bound(p)) for m, p in zip(models, parts, strict=True)], LABELLED)
    wrong = 0
    for shift, part in ((0.3, parts[0]), (-0.4, parts[1])):
        wrong += ((part["x"] + np.array([shift, 0, 0, 0])).argmax(axis=1) != part["labels"]).sum()
    assert found.drop == pytest.approx(wrong / 100)
    assert found.agreement == pytest.approx(1 - wrong / 100)


def test_a_small_drop_needs_many_samples_to_be_believed() -> None:
    budget = Budget("top1", 0.085, 0.99, 20.0)
    few = judge(scores(), [(scores(0.25), bound(samples(50)))], budget)
    many = judge(scores(), [(scores(0.25), bound(samples(5000)))], budget)
    assert many.passed
    assert few.drop == pytest.approx(many.drop, abs=0.03)
    assert few.drop <= 0.085  # inside the budget as it stands, and yet not surely so
    assert not few.passed
    assert few.drop_error > 3 * many.drop_error
    assert "±" in many.reason


def test_without_labels_agreement_and_noise_count() -> None:
    good = judge(scores(), [(scores(noise=0.01), bound(samples(500)))], UNLABELLED)
    bad = judge(scores(), [(scores(noise=0.3), bound(samples(500)))], UNLABELLED)
    assert good.passed
    assert good.drop is None
    assert good.sqnr_db > 30
    assert not bad.passed
    assert "SQNR" in bad.reason


def test_what_is_hopeless_and_what_is_not() -> None:
    data = bound(samples(400))
    for budget in (LABELLED, UNLABELLED):
        assert judge(scores(), [(scores(2.0), data)], budget).is_hopeless(budget)
        assert not judge(scores(), [(scores(0.01), data)], budget).is_hopeless(budget)


def test_nan_never_passes() -> None:
    found = judge(scores(), [(scores(float("nan")), bound(samples(50)))], LABELLED)
    assert not found.passed
    assert "NaN" in found.reason


def test_a_fold_without_a_class_still_has_a_metric() -> None:
    data = {"x": samples(30)["x"], "labels": np.array([1.0] + [0.0] * 29)}
    build = Builder(0)
    x = build.input(["N", 4])
    model = build.model(build.op("MatMul", x, build.constant(np.eye(4)[:, :1])))
    budget = Budget("auc", 0.1, 0.99, 20.0)
    found = judge(model, [(model, Dataset.open(data, inputs=model_inputs(model)))], budget)
    assert (found.drop, found.drop_error, found.passed) == (0.0, 0.0, True)


def test_a_share_of_the_budget() -> None:
    half = share_of(Budget("top1", 0.02, 0.98, 20.0), 0.5)
    assert half.max_drop == pytest.approx(0.01)
    assert half.min_agreement == pytest.approx(0.99)
    assert half.min_sqnr_db == pytest.approx(23.0103, abs=1e-3)
