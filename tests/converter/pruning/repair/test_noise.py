"""What clean samples never excite still counts: some of the samples have noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from pruning_checks import judge
from random_graphs import Builder

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.model import prune_model
from converter.pruning.ranking.ranking import rank_groups
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.tolerance import bears
from converter.pruning.repair.walk import WalkOptions
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.parity.budget import Budget
from runtimes.stress.noise import Noise, measure_noise

RNG = np.random.default_rng(0)
UNITS = 16


def network() -> ir.Model:
    """The first unit sees the difference of two inputs that are equal in all samples."""
    build = Builder(0)
    into = RNG.normal(size=(2, UNITS))
    into[:, 0] = (5.0, -5.0)
    out = RNG.normal(size=(UNITS, 3))
    hidden = build.op("Relu", build.op("MatMul", build.input(["N", 2]), build.constant(into)))
    model = build.model(build.op("MatMul", hidden, build.constant(out)))
    InferShapes()(model)
    return model


def samples() -> Dataset:
    one = RNG.normal(size=(600, 1))
    return Dataset.open({"x": np.concatenate([one, one], axis=1).astype(np.float32)})


def test_a_unit_that_only_noise_excites_is_worth_something() -> None:
    model, data = network(), samples()
    clean = Problem(model, find_dependencies(model), data, WalkOptions())
    (ranking,) = rank_groups(clean)
    assert ranking.units[0] == 0
    assert ranking.costs[0] < 1e-4
    (ranking,) = rank_groups(replace(clean, noise=measure_noise(data)))
    assert ranking.units[0] != 0


def test_pruning_fits_on_noise_and_judges_without(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy: list[Batch] = []

    def noted(noise: Noise, batch: Batch) -> Batch:
        noisy.append(on(noise, batch))
        return noisy[-1]

    on = Noise.on
    monkeypatch.setattr(Noise, "on", noted)
    prune_model(network(), samples(), Budget(None, 0.0, 0.5, 10.0))
    apart = np.concatenate([np.ptp(batch.feed["x"], axis=1) for batch in noisy])
    assert 0.1 < (apart > 0).mean() < 0.4
    noisy.clear()
    judge(network(), [(network(), samples())], None)
    assert not noisy


@pytest.mark.parametrize(("operators", "borne"), [(["Relu"], True), (["Relu", "Log"], False)])
def test_a_model_that_noise_takes_to_no_number_is_left_alone(
    operators: list[str], borne: bool
) -> None:
    build = Builder(0)
    value = build.op("MatMul", build.input(["N", 2]), build.constant(np.array([[-1.0], [1.0]])))
    value = build.op("Add", value, build.constant(np.array([1e-9])))
    for operator in operators:
        value = build.op(operator, value)
    data = samples()
    assert bears(build.model(value), data, measure_noise(data)) is borne


def test_a_model_that_noise_breaks_is_left_alone() -> None:
    build = Builder(0)
    x = build.input(["N", 2])
    difference = build.op("Sub", *build.op("Split", x, outputs=2, axis=1, num_outputs=2))
    size = build.op("Cast", build.op("ReduceMax", build.op("Abs", difference), keepdims=0), to=7)
    ones = build.op("Add", size, build.ints(1, 2))
    data = samples()
    noise = measure_noise(data)
    strong = replace(noise, strength=9.0)
    model = build.model(build.op("Reshape", x, ones))
    assert not bears(model, data.take(1), strong)
