"""The influence of cuts, with the unchanged beginning of the model run once for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from pruning_checks import run_model
from random_graphs import Builder, image_network

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.ranking.ranking import rank_groups
from converter.pruning.repair.refit import QUICK, first_change
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.walk import Walk, WalkOptions
from converter.pruning.search.plan import cut, cut_and_repair, fill_empty
from converter.pruning.search.sensitivity import measure_influence
from runtimes.data.dataset import Dataset

IMAGES = np.random.default_rng(0).normal(size=(120, 3, 8, 8)).astype(np.float32)


def problem_of(model: ir.Model) -> Problem:
    InferShapes()(model)
    data = Dataset.open({"x": IMAGES})
    return Problem(model, find_dependencies(model), data, WalkOptions(batch_size=20))


def residual_network() -> ir.Model:
    build = Builder(3)
    value = build.op("Conv", build.input(["N", 3, 8, 8]), build.weight(12, 3, 1, 1))
    for _ in range(3):
        inner = build.op("Relu", build.op("Conv", value, build.weight(16, 12, 1, 1)))
        value = build.op("Add", build.op("Conv", inner, build.weight(12, 16, 1, 1)), value)
    mean = build.op("ReduceMean", value, build.ints(2, 3), keepdims=0)
    return build.model(build.op("Gemm", mean, build.weight(12, 5), build.weight(5)))


def error(problem: Problem, model: ir.Model, feed: Any) -> float:
    want, got = (run_model(one, {"x": feed})[0] for one in (problem.reference, model))
    return float(((got - want) ** 2).sum() / len(want) / want.var(axis=0).sum())


@pytest.mark.parametrize("network", [residual_network, lambda: image_network(2, 6)])
def test_it_is_what_whole_runs_of_every_cut_would_give(network: Any) -> None:
    problem = problem_of(network())
    rankings = rank_groups(problem)
    assert rankings
    found = measure_influence(problem, rankings)
    first, second = problem.data.split(0.5, problem.seed)
    small = replace(problem, data=first)
    judged = np.concatenate([batch.feed["x"] for batch in second.batches(60)])
    everything = problem.dependencies.everything()
    for ranking in rankings:
        count = max(1, len(ranking.units) // 4)
        kept = fill_empty(problem, rankings, everything.without(ranking.units[:count]))
        alone = error(problem, cut_and_repair(small, kept, QUICK), judged)
        expected = max(alone, 1e-9) / max(float(ranking.costs[count - 1]), 1e-9)
        assert found.by_cost[ranking.name] == pytest.approx(expected, rel=2e-2)
    for branch in problem.branches:
        alone = error(
            problem, cut_and_repair(small, everything.without(branch.units), QUICK), judged
        )
        assert found.branches[branch.name] == pytest.approx(alone, rel=2e-2)


def test_only_what_changes_the_first_node_begins_at_the_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = problem_of(residual_network())
    rankings = rank_groups(problem)
    begun: list[ir.Model] = []
    advance = Walk.advance

    def noted(walk: Walk, node: str) -> None:
        if walk._model is not problem.reference and walk._stop == 0 and walk._place[node]:
            begun.append(walk._model)
        advance(walk, node)

    monkeypatch.setattr(Walk, "advance", noted)
    measure_influence(problem, rankings)
    cuts = len(rankings) + len(problem.branches)
    assert 1 <= len({id(model) for model in begun}) <= cuts // 2


def test_the_first_change_is_where_values_differ() -> None:
    problem = problem_of(residual_network())
    names = [str(node.name) for node in problem.reference.graph]
    convolutions = [str(node.name) for node in problem.reference.graph if node.op_type == "Conv"]
    inner = next(g for g in problem.dependencies.groups if g.makers == (convolutions[3],))
    kept = problem.dependencies.everything().without(inner.units[:2])
    change = first_change(problem, cut(problem, kept), kept)
    assert names.index(change) == names.index(convolutions[3])
