"""A budget of time becomes counted work: the same whatever the clock shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_graphs import Builder

from converter import prune
from converter.compression.work_plan import Forecast, TimeBudget, plan_work
from converter.passes import optimize
from converter.pruning import PruneOptions, prune_model
from converter.pruning.search.limits import USUAL_PLANS, SearchLimits
from converter.pruning.search.savings import Target
from quantizers import quantize
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import model_inputs
from runtimes.parity.budget import Budget

FORECAST = Forecast(10.0, {"low": 5.0, "default": 20.0, "high": 100.0}, 30.0, 10.0)
BOTH = {"quantizes": True, "prunes": True}


def budget(seconds: float | None, effort: Any = "default") -> TimeBudget:
    return TimeBudget(seconds, 600.0, effort)


def test_enough_time_limits_nothing() -> None:
    plan = plan_work(budget(600), FORECAST, **BOTH)
    assert (plan.effort, plan.limits.plans, plan.notes) == ("default", None, ())


def test_a_long_pass_over_the_data_lowers_the_effort_only_of_a_budget_that_was_given() -> None:
    long = replace(FORECAST, calibration=5000.0)
    alone = {"quantizes": True, "prunes": False}
    assert plan_work(budget(None), long, **alone).effort == "default"
    assert plan_work(budget(5020), long, **alone).effort == "low"
    with pytest.raises(DataError, match=r"the least is about 1 h 23 min"):
        plan_work(budget(5000), long, **alone)


def test_what_is_left_goes_into_cuts() -> None:
    plan = plan_work(budget(125), FORECAST, **BOTH)  # 10 + 20 + 30, then six at 10
    assert (plan.effort, plan.limits.plans) == ("default", 6)
    assert plan.afterwards("") == ()
    (note,) = plan.afterwards("plans")
    assert "allows 6 plans of cuts" in note
    assert "2 min 20 s more" in note  # 14 plans


def test_int8_comes_before_cuts() -> None:
    plan = plan_work(budget(31), FORECAST, **BOTH)
    assert plan.effort == "default"
    assert "no time for cuts; about 39 s more would" in plan.skipped


def test_effort_is_lowered_before_int8_is_given_up() -> None:
    plan = plan_work(budget(20, "high"), FORECAST, **BOTH)
    assert plan.effort == "low"
    assert "about 1 min 30 s more would allow high effort" in plan.notes[0]


def test_too_little_for_anything_says_the_least() -> None:
    with pytest.raises(DataError, match=r"too little.*the least is about 15 s"):
        plan_work(budget(14), FORECAST, **BOTH)
    with pytest.raises(DataError, match="the least is about 50 s"):
        plan_work(budget(14), FORECAST, quantizes=False, prunes=True)


def test_the_default_refuses_nothing() -> None:
    slow = replace(FORECAST, judging=700.0)
    assert plan_work(budget(None), slow, **BOTH).effort == "low"
    assert plan_work(budget(None), slow, quantizes=False, prunes=True).limits.plans == 1


def test_little_and_much_effort() -> None:
    low = plan_work(budget(600, "low"), FORECAST, **BOTH)
    high = plan_work(budget(6000, "high"), FORECAST, **BOTH)
    assert low.limits.plans is not None
    assert low.limits.plans < USUAL_PLANS
    assert high.limits.small_steps > SearchLimits().small_steps
    assert (low.effort, high.effort) == ("low", "high")


def test_training_needs_time_of_its_own() -> None:
    trained = replace(FORECAST, training=100.0)
    assert plan_work(budget(160), trained, **BOTH).trains  # 10 + 20 + 30 + 100
    plan = plan_work(budget(150), trained, **BOTH)
    assert not plan.trains
    assert plan.notes[-1].startswith("nothing is trained: the time budget of")
    assert "about 10 s more would, or --recover" in plan.notes[-1]
    assert not plan_work(budget(600, "low"), trained, **BOTH).trains
    assert not plan_work(budget(600), trained, quantizes=True, prunes=False).trains


def test_the_clock_of_a_default_budget_stops_nothing() -> None:
    assert plan_work(budget(None), FORECAST, **BOTH).limits.deadline is None
    assert plan_work(budget(600), FORECAST, **BOTH).limits.deadline is not None


@pytest.fixture(scope="module")
def network() -> Any:
    build = Builder(0)
    x = build.input(["N", 16])
    hidden = build.op("Relu", build.op("MatMul", x, build.weight(16, 64)))
    hidden = build.op("Relu", build.op("MatMul", hidden, build.weight(64, 64)))
    return optimize(build.model(build.op("MatMul", hidden, build.weight(64, 8))))


def samples(model: Any) -> Dataset:
    data = {model.graph.inputs[0].name: np.random.default_rng(0).normal(size=(64, 16))}
    arrays = {name: array.astype(np.float32) for name, array in data.items()}
    return Dataset.open(arrays).bind(model_inputs(model))


LOSS = Budget(None, 0.0, 0.0, 3.0)


def pruned(model: Any, limits: SearchLimits) -> Any:
    options = PruneOptions(Target("macs"), limits=limits)
    return prune_model(model, samples(model), LOSS, options=options).report


def test_a_search_stops_with_the_best_of_its_plans(network: Any) -> None:
    whole, some = pruned(network, SearchLimits()), pruned(network, SearchLimits(plans=2))
    assert len(whole.tried) > len(some.tried) == 2
    assert [one.share for one in some.tried] == [one.share for one in whole.tried[:2]]
    assert (whole.stopped, some.stopped) == ("", "plans")
    assert "stopped after 2 plans" in some.reason


def test_the_clock_stops_what_takes_too_long_and_says_so(network: Any) -> None:
    late = SearchLimits(deadline=0.0, clock=lambda: 1.0)
    report = pruned(network, late)
    assert len(report.tried) == 1
    assert report.stopped == "clock"
    (loud,) = plan_work(budget(600), FORECAST, **BOTH).afterwards(report.stopped)
    assert loud.startswith("NOT REPEATABLE")
    assert "--decisions" in loud


@pytest.mark.parametrize("command", [prune, quantize])
def test_commands_refuse_too_small_a_budget_before_they_begin(
    command: Any, network: Any, tmp_path: Any
) -> None:
    data = {network.graph.inputs[0].name: np.ones((64, 16), np.float32)}
    with pytest.raises(DataError, match="the least is about"):
        command(network, tmp_path / "o.onnx", data, time_budget=0.01)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"time_budget": "soon"}, {"effort": "maximal"}])
def test_what_is_no_time_or_effort_is_refused(options: Any, network: Any, tmp_path: Any) -> None:
    data = {network.graph.inputs[0].name: np.ones((64, 16), np.float32)}
    with pytest.raises(DataError, match=r"such as 90s|low, default or high"):
        quantize(network, tmp_path / "o.onnx", data, **options)
