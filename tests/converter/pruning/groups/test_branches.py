"""Residual branches that go as a whole: what is one, what is left without it, and its repair."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pruning_checks import run_model, zero_operand
from random_graphs import Builder

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.branches import find_branches
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.model import prune_model
from converter.pruning.prepare import PruneOptions
from converter.pruning.ranking.ranking import rank_groups
from converter.pruning.repair.refit import QUICK
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.walk import WalkOptions
from converter.pruning.search.cost import CostModel
from converter.pruning.search.offers import offered_cuts
from converter.pruning.search.plan import cut, cut_and_repair, select
from converter.pruning.search.sensitivity import measure_influence
from examples import examples
from runtimes.data.dataset import Dataset
from runtimes.parity.budget import Budget

IMAGES = np.random.default_rng(0).normal(size=(160, 3, 6, 6)).astype(np.float32)
OTHERS = np.random.default_rng(1).normal(size=(80, 3, 6, 6)).astype(np.float32)


def conv(build: Builder, x: ir.Value, inputs: int, filters: int, scale: float = 1.0) -> ir.Value:
    weight = build.weight(filters, inputs, 1, 1)
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(scale), name=weight.name)
    return build.op("Conv", x, weight, build.weight(filters))


def problem_of(model: ir.Model) -> Problem:
    InferShapes()(model)
    return Problem(
        model, find_dependencies(model), Dataset.open({"x": IMAGES}), WalkOptions(batch_size=40)
    )


def residual(kind: str) -> ir.Model:
    """conv, then x + f(x) in one of several forms, then a layer that reads it."""
    build = Builder(5)
    x = conv(build, build.input(["N", 3, 6, 6]), 3, 8)
    skip = build.op("Relu", x) if kind.startswith("relu") else x
    inner = build.op("Relu", conv(build, skip, 8, 12))
    if kind == "two groups":
        inner = build.op("Relu", conv(build, inner, 12, 12))
    f = conv(build, inner, 12, 8, scale=0.3)
    if kind == "projected":
        skip = conv(build, skip, 8, 8)
    total = build.op("Add", f, skip)
    if kind in {"relu, relu", "two groups"}:
        total = build.op("Relu", total)
    if kind == "chained":
        more = conv(build, build.op("Relu", conv(build, total, 8, 12)), 12, 8, scale=0.3)
        total = build.op("Add", total, more)
    mean = build.op("ReduceMean", total, build.ints(2, 3), keepdims=0)
    return build.model(build.op("Gemm", mean, build.weight(8, 5), build.weight(5)))


KINDS = ["relu, relu", "relu, none", "linear", "two groups", "projected", "chained"]


def error(model: ir.Model, other: ir.Model) -> float:
    want, got = (run_model(one, {"x": OTHERS})[0] for one in (model, other))
    return float(((got - want) ** 2).sum() / ((want - want.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_branch_the_rest_is_what_it_was(kind: str) -> None:
    problem = problem_of(residual(kind))
    assert len(problem.branches) == (2 if kind == "chained" else 1)
    for branch in problem.branches:
        assert len(branch.groups) == (2 if kind == "two groups" else 1)
        kept = problem.dependencies.everything().without(branch.units)
        left = cut(problem, kept)
        want = zero_operand(problem.reference, branch.add, branch.input)
        np.testing.assert_allclose(
            run_model(left, {"x": OTHERS})[0], run_model(want, {"x": OTHERS})[0], atol=1e-5
        )
        assert not branch.nodes & {str(node.name) for node in left.graph}
        read = {value.name for node in left.graph for value in node.inputs}
        assert set(left.graph.initializers) <= read
        assert [v.name for v in left.graph.outputs] == ["y0"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_learns_to_do_without(kind: str) -> None:
    problem = problem_of(residual(kind))
    for branch in problem.branches:
        kept = problem.dependencies.everything().without(branch.units)
        before = error(problem.reference, cut(problem, kept))
        after = error(problem.reference, cut_and_repair(problem, kept))
        assert after < 0.7 * before


@pytest.mark.parametrize("kind", KINDS)
def test_branches_and_channels_go_together(kind: str) -> None:
    problem = problem_of(residual(kind))
    rankings = rank_groups(problem)
    names = {branch.name for branch in problem.branches}
    plan = {one.name: 0 if one.name in names else len(one.units) // 2 for one in rankings}
    kept = select(problem, rankings, plan)
    left = cut_and_repair(problem, kept)
    assert np.isfinite(run_model(left, {"x": OTHERS})[0]).all()
    costs = CostModel(problem.reference, problem.dependencies, problem.data)
    alone = problem_of(left)
    again = CostModel(left, alone.dependencies, problem.data)
    assert costs.count(kept).macs == again.count(alone.dependencies.everything()).macs


@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_to_drop_a_branch_is_carried_out(kind: str) -> None:
    problem = problem_of(residual(kind))
    plan = {problem.branches[-1].name: 0}
    anything = Budget(max_drop=1.0, min_agreement=0.0, min_sqnr=-200.0)
    options = PruneOptions(plan=plan)
    found = prune_model(problem.reference, problem.data, anything, options=options)
    assert "1 residual branch gone" in found.report.reason
    assert problem.branches[-1].add not in {str(node.name) for node in found.model.graph}
    assert np.isfinite(run_model(found.model, {"x": OTHERS})[0]).all()


def stack(seed: int, length: int) -> ir.Model:
    """Residual blocks of several kinds one behind the other, some inside of others."""
    build = Builder(seed)
    x = build.op("Relu", conv(build, build.input(["N", 3, 6, 6]), 3, 8))
    for _ in range(length):
        x = block(build, x, depth=0)
    mean = build.op("ReduceMean", x, build.ints(2, 3), keepdims=0)
    return build.model(build.op("Gemm", mean, build.weight(8, 5), build.weight(5)))


def block(build: Builder, x: ir.Value, depth: int) -> ir.Value:
    kinds = ["plain", "depthwise", "gated", "concatenated", "projected", *["nested"] * (depth < 2)]
    kind = kinds[build.rng.integers(len(kinds))]
    inner = build.op("Relu", conv(build, x, 8, 12))
    if kind == "depthwise":
        inner = build.op("Conv", inner, build.weight(12, 1, 3, 3), pads=[1, 1, 1, 1], group=12)
    elif kind == "gated":
        mean = build.op("GlobalAveragePool", inner)
        gate = build.op("Sigmoid", conv(build, build.op("Relu", conv(build, mean, 12, 4)), 4, 12))
        inner = build.op("Mul", inner, gate)
    elif kind == "concatenated":
        other = build.op("Relu", conv(build, x, 8, 6))
        inner = build.op("Relu", conv(build, build.op("Concat", inner, other, axis=1), 18, 12))
    f = conv(build, inner, 12, 8, scale=0.3)
    if kind == "nested":
        f = block(build, f, depth + 1)
    total = build.op("Add", f, conv(build, x, 8, 8) if kind == "projected" else x)
    return build.op("Relu", total) if build.rng.random() < 0.5 else total


@examples(60)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 4))
def test_any_branches_of_any_network_go_without_a_trace(seed: int, length: int) -> None:
    problem = problem_of(stack(seed, length))
    assert len(problem.branches) >= length
    kept, want = problem.dependencies.everything(), problem.reference
    rng = np.random.default_rng(seed)
    for branch in problem.branches:
        if rng.random() < 0.6:
            kept = kept.without(branch.units)
            want = zero_operand(want, branch.add, branch.input)
    left = cut(problem, kept)
    (got,), (expected,) = (run_model(model, {"x": OTHERS}) for model in (left, want))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))
    repaired = cut_and_repair(problem, kept)
    assert np.isfinite(run_model(repaired, {"x": OTHERS})[0]).all()


def test_one_group_stands_for_all_of_a_branch() -> None:
    problem = problem_of(residual("two groups"))
    (branch,) = problem.branches
    rankings = rank_groups(problem)
    kept = select(problem, rankings, {branch.name: 0})
    assert branch.is_gone(kept)
    assert not kept.units[branch.units].any()
    less = select(problem, rankings, dict.fromkeys(branch.groups, 1))
    assert not branch.is_gone(less)


def test_what_is_inside_a_branch_may_go_alone() -> None:
    build = Builder(1)
    x = build.op("Relu", conv(build, build.input(["N", 3, 6, 6]), 3, 8))
    first = conv(build, build.op("Relu", conv(build, x, 8, 12)), 12, 8)
    inner = build.op("Add", conv(build, build.op("Relu", conv(build, first, 8, 6)), 6, 8), first)
    total = build.op("Add", inner, x)
    problem = problem_of(build.model(conv(build, total, 8, 2)))
    small, large = problem.branches
    assert small.nodes < large.nodes
    assert set(small.groups) < set(large.groups)
    everything = problem.dependencies.everything()
    assert not large.is_gone(everything.without(small.units))
    assert small.is_gone(everything.without(large.units))


def seen_outside(kind: str) -> ir.Model:
    """Graphs that look like a residual branch and are none."""
    build = Builder(2)
    x = build.input(["N", 3, 6, 6])
    skip = x if kind == "the input itself" else conv(build, x, 3, 3)
    inner = build.op("Relu", conv(build, skip, 3, 12))
    f = conv(build, inner, 12, 3)
    if kind == "broadcast":
        skip = build.op("ReduceMean", skip, build.ints(2, 3), keepdims=1)
    total = build.op("Add", f, skip)
    last = conv(build, total, 3, 5)
    outputs: list[Any] = [last]
    if kind == "the sum is an output":
        outputs.append(total)
    if kind == "the shortcut is an output":
        outputs.append(skip)
    if kind == "the inside is read elsewhere":
        outputs.append(conv(build, inner, 12, 2))
    if kind == "the shortcut is read elsewhere":
        outputs.append(conv(build, skip, 3, 2))
    return build.model(*outputs)


@pytest.mark.parametrize(
    "kind",
    [
        "the input itself",
        "broadcast",
        "the sum is an output",
        "the shortcut is an output",
        "the inside is read elsewhere",
        "the shortcut is read elsewhere",
    ],
)
def test_what_only_looks_like_a_branch(kind: str) -> None:
    model = seen_outside(kind)
    InferShapes()(model)
    assert find_branches(model, find_dependencies(model)) == ()


def test_an_inside_with_channels_that_must_stay_is_none() -> None:
    build = Builder(2)
    skip = conv(build, build.input(["N", 3, 6, 6]), 3, 4)
    inner = build.op("LRN", conv(build, skip, 4, 6), size=3)  # no rule says how channels move
    total = build.op("Add", conv(build, inner, 6, 4), skip)
    model = build.model(conv(build, total, 4, 2))
    InferShapes()(model)
    assert find_branches(model, find_dependencies(model)) == ()


def test_a_branch_is_offered_once_and_at_what_it_costs() -> None:
    problem = problem_of(residual("two groups"))
    rankings = rank_groups(problem)
    (branch,) = problem.branches
    influence = measure_influence(problem, rankings)
    assert set(influence.branches) == {branch.name}
    kept = problem.dependencies.everything().without(branch.units)
    found = error(problem.reference, cut_and_repair(problem, kept, QUICK))
    assert influence.branches[branch.name] == pytest.approx(found, rel=0.5)
    offers = offered_cuts(problem, rankings, {}, influence, lambda every: [0.9] * len(every))
    whole = [
        (ranking.name, one)
        for ranking, cuts in zip(rankings, offers, strict=True)
        for one in cuts
        if one.units == len(ranking.units)
    ]
    assert [name for name, _ in whole] == [branch.name]
    assert whole[0][1].error == influence.branches[branch.name]
    gone = {branch.name: 0}
    offers = offered_cuts(problem, rankings, gone, influence, lambda every: [0.9] * len(every))
    inside = set(branch.groups)
    for ranking, cuts in zip(rankings, offers, strict=True):
        assert (ranking.name not in inside) or cuts == []
