"""A repaired model is nearer to what it was; what nothing happened to stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pruning_checks import random_selection, run_model
from random_graphs import Builder, image_network, sequence_network

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.ranking.ranking import rank_groups
from converter.pruning.repair.reference_rows import ReferenceRows
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.walk import Walk, WalkOptions
from converter.pruning.search.cost import CostModel
from converter.pruning.search.plan import cut, cut_and_repair, select
from examples import examples
from runtimes.data.dataset import Dataset

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(120, 3, 8, 8)).astype(np.float32)
TOKENS = RNG.integers(0, 9, size=(120, 5))


def problem_of(model: ir.Model, samples: Any) -> Problem:
    InferShapes()(model)
    data = Dataset.open({"x": samples})
    return Problem(model, find_dependencies(model), data, WalkOptions(batch_size=40))


def error(model: ir.Model, other: ir.Model, samples: Any) -> float:
    want, got = (run_model(one, {"x": samples})[0] for one in (model, other))
    return float(((got - want) ** 2).sum() / ((want - want.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize(
    ("network", "samples"), [(image_network, IMAGES), (sequence_network, TOKENS)]
)
@examples(15)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(2, 6))
def test_any_network_can_be_repaired(network: Any, samples: Any, seed: int, length: int) -> None:
    problem = problem_of(network(seed, length), samples)
    kept = random_selection(problem.dependencies, seed)
    before = error(problem.reference, cut(problem, kept), samples)
    after = error(problem.reference, cut_and_repair(problem, kept), samples)
    assert np.isfinite(after)
    assert after <= max(1.5 * before, 1e-6)


def residual_network() -> ir.Model:
    build = Builder(3)
    value = build.op(
        "Relu", build.op("Conv", build.input(["N", 3, 8, 8]), build.weight(12, 3, 1, 1))
    )
    for _ in range(3):
        inner = build.op(
            "Relu", build.op("Conv", value, build.weight(16, 12, 1, 1), build.weight(16))
        )
        value = build.op(
            "Relu", build.op("Add", build.op("Conv", inner, build.weight(12, 16, 1, 1)), value)
        )
    mean = build.op("ReduceMean", value, build.ints(2, 3), keepdims=0)
    return build.model(build.op("Gemm", mean, build.weight(12, 5), build.weight(5)))


@pytest.mark.parametrize("stays", [8, 5])
def test_repair_and_ranking_both_help(stays: int) -> None:
    problem = problem_of(residual_network(), IMAGES)
    others = RNG.normal(size=IMAGES.shape).astype(np.float32)
    found = {}
    for importance in ("second-order", "random"):
        rankings = rank_groups(problem, importance)  # type: ignore[arg-type]
        kept = select(problem, rankings, {ranking.name: stays for ranking in rankings})
        found[importance, "cut"] = error(problem.reference, cut(problem, kept), others)
        repaired = cut_and_repair(problem, kept)
        found[importance, "repaired"] = error(problem.reference, repaired, others)
    assert found["second-order", "repaired"] < 0.2 * found["second-order", "cut"]
    assert found["second-order", "repaired"] < found["random", "repaired"]


def test_what_nothing_happened_to_stays_to_the_bit() -> None:
    problem = problem_of(residual_network(), IMAGES)
    repaired = cut_and_repair(problem, problem.dependencies.everything())
    for name, value in problem.reference.graph.initializers.items():
        array = repaired.graph.initializers[name].const_value
        np.testing.assert_array_equal(array.numpy(), value.const_value.numpy())


def test_a_redundant_channel_is_made_up_for_completely() -> None:
    build = Builder(0)
    first = build.weight(6, 3, 1, 1)
    array = first.const_value.numpy().copy()
    array[4] = 0.5 * array[1] - 2.0 * array[2]
    first.const_value = ir.tensor(array, name=first.name)
    inner = build.op("Conv", build.input(["N", 3, 8, 8]), first)
    second = build.op("Relu", build.op("Conv", inner, build.weight(4, 6, 3, 3)))
    model = build.model(build.op("Conv", second, build.weight(2, 4, 1, 1)))
    problem = problem_of(model, IMAGES)
    rankings = rank_groups(problem)
    kept = select(problem, rankings, {rankings[0].name: 5})
    assert error(model, cut(problem, kept), IMAGES) > 1e-3
    assert error(model, cut_and_repair(problem, kept), IMAGES) < 1e-6


def test_the_same_data_and_seed_give_the_same_bytes() -> None:
    problem = problem_of(residual_network(), IMAGES)
    files = []
    for _ in range(2):
        rankings = rank_groups(problem)
        kept = select(problem, rankings, {ranking.name: 4 for ranking in rankings})
        files.append(ir.to_proto(cut_and_repair(problem, kept)).SerializeToString())
    assert files[0] == files[1]


def test_cost_is_that_of_the_model_that_is_left() -> None:
    problem = problem_of(residual_network(), IMAGES)
    costs = CostModel(problem.reference, problem.dependencies, problem.data)
    rankings = rank_groups(problem, "weight-norm")
    kept = select(problem, rankings, {ranking.name: 7 for ranking in rankings})
    left = cut(problem, kept)
    places = 64
    macs = places * (7 * 3 + 6 * 7 * 7) + 7 * 5
    assert costs.count(kept).macs == macs
    weights = sum(
        v.const_value.size for v in left.graph.initializers.values() if v.dtype == ir.DataType.FLOAT
    )
    assert costs.count(kept).parameters == weights


def test_cost_of_attention_and_recurrence() -> None:
    build = Builder(0)
    tokens = build.input(["N", 5], "x", ir.DataType.INT64)
    value = build.op("Gather", build.weight(9, 8), tokens, axis=0)
    scores = build.op("MatMul", value, build.op("Transpose", value, perm=[0, 2, 1]))
    value = build.op("MatMul", build.op("Softmax", scores), value)
    made = build.op(
        "LSTM",
        build.op("Transpose", value, perm=[1, 0, 2]),
        build.weight(1, 16, 8),
        build.weight(1, 16, 4),
        hidden_size=4,
    )
    model = build.model(build.op("ReduceMax", made, build.ints(0, 1), keepdims=0))
    problem = problem_of(model, TOKENS)
    costs = CostModel(model, problem.dependencies, problem.data)
    products = 5 * 5 * 8 + 5 * 8 * 5
    assert costs.count(problem.dependencies.everything()).macs == products + 5 * 16 * (8 + 4)


@pytest.mark.parametrize(
    ("network", "samples"), [(image_network, IMAGES), (sequence_network, TOKENS)]
)
@examples(9)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(2, 6))
def test_what_plans_share_changes_nothing(
    network: Any, samples: Any, seed: int, length: int
) -> None:
    problem = problem_of(network(seed, length), samples)
    first, second = (random_selection(problem.dependencies, seed + n) for n in range(2))
    cut_and_repair(problem, first)
    shared = cut_and_repair(problem, second)
    alone = cut_and_repair(replace(problem), second)
    for one, other in zip(
        shared.graph.initializers.values(), alone.graph.initializers.values(), strict=True
    ):
        assert np.array_equal(one.const_value.numpy(), other.const_value.numpy())


def test_the_reference_runs_once_for_all_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(residual_network(), IMAGES)
    walked: list[ir.Model] = []
    advance = Walk.advance

    def noted(walk: Walk, node: str) -> None:
        walked.append(walk._model)
        advance(walk, node)

    monkeypatch.setattr(Walk, "advance", noted)
    cut_and_repair(problem, random_selection(problem.dependencies, 0))
    assert problem.reference in walked
    walked.clear()
    cut_and_repair(problem, random_selection(problem.dependencies, 1))
    assert walked
    assert problem.reference not in walked
    problem.reference_rows.clear()
    cut_and_repair(problem, random_selection(problem.dependencies, 1))
    assert problem.reference in walked


@pytest.mark.parametrize("memory", [1, 1 << 14, 1 << 30])
def test_what_is_learned_ahead_is_what_layers_ask_for(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the memory: alone, some layers together, or all in one run of the reference."""
    model = residual_network()
    problem = problem_of(model, IMAGES)
    problem = replace(problem, options=replace(problem.options, memory_bytes=memory))
    runs: list[int] = []
    batches = Walk.batches

    def noted(walk: Walk, names: Any) -> Any:
        if walk._model is problem.reference:
            runs.append(len(names))
        return batches(walk, names)

    kept = random_selection(problem.dependencies, 0)
    ahead = cut_and_repair(problem, kept)
    with monkeypatch.context() as patched:
        patched.setattr(ReferenceRows, "learn", lambda *_: None)
        alone = cut_and_repair(replace(problem), kept)
    for one, other in zip(
        ahead.graph.initializers.values(), alone.graph.initializers.values(), strict=True
    ):
        found, wanted = one.const_value.numpy(), other.const_value.numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(Walk, "batches", noted)
    cut_and_repair(replace(problem), kept)
    assert runs
    assert (len(runs) <= 2) == (memory == 1 << 30)  # to the first layer, and behind it
