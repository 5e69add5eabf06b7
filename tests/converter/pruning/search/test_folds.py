"""How many parts of the samples judge a plan, and what steps from one plan share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_graphs import Builder

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.ranking.ranking import rank_groups
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.walk import WalkOptions
from converter.pruning.search import savings
from converter.pruning.search.cost import CostModel
from converter.pruning.search.folds import Folds
from converter.pruning.search.savings import Savings, Target
from converter.pruning.search.sensitivity import Influence
from runtimes.costs import open_costs
from runtimes.data.dataset import Dataset


def problem_of(count: int) -> Problem:
    build = Builder(0)
    x = build.op("Relu", build.op("MatMul", build.input(["N", 4]), build.weight(4, 24)))
    model = build.model(build.op("MatMul", x, build.weight(24, 3)))
    InferShapes()(model)
    x = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    return Problem(model, find_dependencies(model), Dataset.open({"x": x}), WalkOptions())


@pytest.mark.parametrize(("count", "parts"), [(40, 4), (255, 4), (256, 2), (500, 2)])
def test_many_samples_are_fitted_and_judged_by_halves(count: int, parts: int) -> None:
    problem = problem_of(count)
    trial, _ = Folds(problem, None).begin(problem.dependencies.everything())
    asked = [trial.judgement.samples]
    while not trial.is_complete:
        trial.go_on()
        asked.append(trial.judgement.samples)
    assert len(asked) == parts
    assert asked[-1] == count
    assert asked[0] == pytest.approx(count / parts, abs=1)


def test_steps_from_one_plan_share_what_its_cuts_save(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(40)
    rankings = rank_groups(problem)
    formed: list[Any] = []

    def noted(model: Any, *_: Any) -> Any:
        formed.append(model)
        return lambda other: other

    monkeypatch.setattr(savings, "int8_form", noted)
    costs = CostModel(problem.reference, problem.dependencies, problem.data)
    found = Savings(problem, rankings, costs, Target("latency", int8=True), open_costs())
    influence = Influence({one.name: 1.0 for one in rankings}, {})
    first = found.offers({}, influence, "latency")
    assert found.offers({}, influence, "latency") is first
    further = {rankings[0].name: 12}
    model = savings.cut(problem, savings.select(problem, rankings, further))
    assert found.share(model, further, {}) > 0
    assert len(formed) == 1
    assert found.offers(further, influence, "latency") is not first
    assert found.offers({}, influence, "parameters") is not first
    assert len(formed) == 2
