"""The judgement on held-out data: how much is lost, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from pruning_checks import judge
from random_graphs import Builder

from converter.pruning.search.objective import Judgement, decide, is_outside, share_of
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs
from runtimes.parity.budget import Budget


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


def judged(model: ir.Model, data: dict[str, Any], metric: str | None = "top1") -> Judgement:
    return judge(scores(), [(model, bound(data))], metric)


def test_the_drop_over_all_models_together() -> None:
    parts = [samples(60, 1), samples(40, 2)]
    models = [scores(0.3), scores(-0.4)]
    pairs = [(m, bound(p)) for m, p in zip(models, parts, strict=True)]
    found = judge(scores(), pairs, "top1")
    wrong = 0
    for shift, part in ((0.3, parts[0]), (-0.4, parts[1])):
        wrong += ((part["x"] + np.array([shift, 0, 0, 0])).argmax(axis=1) != part["labels"]).sum()
    assert found.samples == 100
    assert found.drop == pytest.approx(wrong / 100)
    assert np.mean(found.drops) == pytest.approx(wrong / 100)
    assert found.agreement == pytest.approx(1 - wrong / 100)


def test_a_drop_needs_many_samples_to_be_believed() -> None:
    few, many = (judged(scores(0.1), samples(count)) for count in (200, 6000))
    budget = Budget("top1", 1.05 * few.drop, 0.99, 20.0)  # inside as it stands
    assert decide(many, [many], budget).passed
    assert not decide(few, [few], budget).passed
    assert "±" in decide(few, [few], budget).reason


def test_samples_tell_how_sure_a_mean_is_and_parts_where_there_is_none() -> None:
    data = samples(200)
    found = judged(scores(0.3), data)
    before, after = (
        (data["x"] + np.array([shift, 0, 0, 0])).argmax(axis=1) == data["labels"]
        for shift in (0.0, 0.3)
    )
    assert found.drops == tuple(before.astype(float) - after)
    verdict = decide(found, [found], Budget("top1", 0.5, 0.99, 20.0))
    error = np.std(before.astype(float) - after, ddof=1) / np.sqrt(200)
    assert f"± {error:.4f}" in verdict.reason
    binary = {"x": data["x"], "labels": (data["labels"] == 0).astype(np.float32)}
    build = Builder(0)
    x = build.input(["N", 4])
    model = build.model(build.op("MatMul", x, build.constant(np.eye(4)[:, :1])))
    bound_data = Dataset.open(binary, inputs=model_inputs(model))
    assert len(judge(model, [(model, bound_data)], "auc").drops) == 10


def test_other_models_tell_what_noise_costs() -> None:
    data = samples(300)
    tried = [judged(scores(shift), data) for shift in (0.05, 0.1, 0.2, 0.4)]
    gentle, rough = tried[0], tried[-1]
    assert gentle.noise < rough.noise
    verdict = decide(gentle, tried, LABELLED)
    total = sum(one.drop for one in tried) / sum(one.noise for one in tried)
    assert verdict.drop == pytest.approx(max(total * gentle.noise, gentle.drop))
    assert not decide(rough, tried, LABELLED).passed


def test_what_was_seen_to_be_lost_counts_whatever_was_expected() -> None:
    harmless = [replace(judged(scores(0.0, 0.2), samples(300)), drop=0.0, drops=(0.0,) * 10)] * 9
    bad = replace(harmless[0], drop=0.06, drops=(0.06,) * 10)
    assert not decide(bad, [*harmless, bad], LABELLED).passed


def test_without_labels_agreement_and_noise_count() -> None:
    good, bad = (judged(scores(noise=noise), samples(500), None) for noise in (0.01, 0.3))
    assert decide(good, [good], UNLABELLED).passed
    assert good.drop is None
    assert good.sqnr_db > 30
    assert not decide(bad, [bad], UNLABELLED).passed
    assert "SQNR" in decide(bad, [bad], UNLABELLED).reason


@pytest.mark.parametrize("budget", [LABELLED, UNLABELLED])
def test_what_is_hopeless_and_what_is_not(budget: Budget) -> None:
    assert judged(scores(2.0), samples(400), budget.metric).is_hopeless(budget)
    assert not judged(scores(0.01), samples(400), budget.metric).is_hopeless(budget)


def test_nan_never_passes() -> None:
    found = judged(scores(float("nan")), samples(50))
    assert found.is_hopeless(LABELLED)
    verdict = decide(found, [found], LABELLED)
    assert not verdict.passed
    assert "NaN" in verdict.reason


def test_parts_without_a_class_still_have_a_metric_together() -> None:
    data = {"x": samples(30)["x"], "labels": np.array([1.0] + [0.0] * 29)}
    build = Builder(0)
    x = build.input(["N", 4])
    model = build.model(build.op("MatMul", x, build.constant(np.eye(4)[:, :1])))
    found = judge(model, [(model, Dataset.open(data, inputs=model_inputs(model)))], "auc")
    assert (found.drop, found.drops) == (0.0, ())
    assert decide(found, [found], Budget("auc", 0.1, 0.99, 20.0)).passed


def test_a_share_of_the_budget() -> None:
    half = share_of(Budget("top1", 0.02, 0.98, 20.0), 0.5)
    assert half.max_drop == pytest.approx(0.01)
    assert half.min_agreement == pytest.approx(0.99)
    assert half.min_sqnr == pytest.approx(23.0103, abs=1e-3)


def test_an_output_without_labels_keeps_its_floor() -> None:
    def two(noise: float) -> ir.Model:
        build = Builder(0)
        x = build.input(["N", 4])
        matrix = np.eye(4) + noise * np.random.default_rng(0).normal(size=(4, 4))
        return build.model(
            build.op("MatMul", x, build.constant(np.eye(4))),
            build.op("MatMul", x, build.constant(matrix)),
        )

    data = samples(200)
    for noise, passed in ((0.3, False), (0.01, True)):
        reference, model = two(0.0), two(noise)
        labelled = {"x": data["x"], "labels:y0": data["labels"]}
        found = judge(
            reference,
            [(model, Dataset.open(labelled, inputs=model_inputs(reference)))],
            "top1",
        )
        assert found.drop == 0.0
        assert found.sqnr_db == np.inf
        verdict = decide(found, [found], LABELLED)
        assert verdict.passed is passed
        assert ("without labels" in verdict.reason) is not passed
        assert found.is_hopeless(LABELLED) is not passed


def test_of_several_metrics_the_worst_counts() -> None:
    def model(scale: float) -> ir.Model:
        build = Builder(0)
        x = build.input(["N", 4])
        kind = build.op("MatMul", x, build.constant(np.eye(4)))
        return build.model(kind, build.op("MatMul", x, build.constant(np.eye(4) * scale)))

    given = samples(200)
    data = bound({"x": given["x"], "labels:y0": given["labels"], "labels:y1": given["x"]})
    found = judge(model(1.0), [(model(0.5), data)], "top1:y0,r2:y1")
    assert found.drop == pytest.approx(0.25, abs=0.01)
    assert judge(model(1.0), [(model(0.5), data)], "top1:y0").drop == 0


def test_a_drop_is_said_as_it_is() -> None:
    better = Judgement(100, -0.0033, (), None, 30.0)
    reason = decide(better, [better], LABELLED).reason
    assert reason.startswith("top1 gets 0.0033 better on data held out")
    assert "(expected from 1 model: a loss of " in reason
    same = replace(better, drop=0.0)
    assert "top1 stays as it is on data held out" in decide(same, [same, better], LABELLED).reason


def test_how_much_of_the_budget_is_spent() -> None:
    data = samples(2000)
    found = judged(scores(0.1), data)
    verdict = decide(found, [found], LABELLED)
    assert 0 < verdict.spent < 1
    assert verdict.passed
    tight = Budget("top1", LABELLED.drop * verdict.spent * 0.9, 0.99, 20.0)
    refused = decide(found, [found], tight)
    assert not refused.passed
    assert refused.spent == pytest.approx(1 / 0.9)


@pytest.mark.parametrize(("noise", "outside"), [(0.02, False), (0.5, True)])
@pytest.mark.parametrize("budget", [LABELLED, UNLABELLED])
def test_part_of_the_data_may_say_no(noise: float, outside: bool, budget: Budget) -> None:
    metric = budget.metric
    part, whole = (judged(scores(0.0, noise), samples(n), metric) for n in (300, 3000))
    assert is_outside(part, [], budget) is outside
    assert decide(whole, [whole], budget).passed is not outside


def test_what_others_lost_for_their_noise_may_say_no() -> None:
    others = [judged(scores(0.0, noise), samples(3000)) for noise in (0.05, 0.1)]
    rough = replace(judged(scores(0.0, 0.5), samples(3000)), drop=0.0, drops=(0.0,) * 3000)
    assert not is_outside(rough, [], LABELLED)
    assert is_outside(rough, others, LABELLED)


def test_how_sure_it_has_to_be_is_said_by_the_judgement() -> None:
    careful = judged(scores(0.1), samples(2000))
    bold = replace(careful, sure=0.5)
    verdicts = [decide(one, [one], LABELLED) for one in (careful, bold)]
    assert verdicts[1].spent < verdicts[0].spent
    between = sum(one.spent for one in verdicts) / 2
    budget = Budget("top1", LABELLED.drop * between, 0.99, 20.0)
    assert [decide(one, [one], budget).passed for one in (careful, bold)] == [False, True]
