"""For how few cuts costs are asked: between whole blocks of channels they are a straight line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from random_graphs import Builder

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.selection import Selection
from converter.pruning.ranking.ranking import rank_groups
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.walk import WalkOptions
from converter.pruning.search.offers import offered_cuts
from converter.pruning.search.sensitivity import Influence
from runtimes.data.dataset import Dataset


def problem_of(units: int) -> Problem:
    build = Builder(0)
    x = build.op("Relu", build.op("MatMul", build.input(["N", 4]), build.weight(4, units)))
    model = build.model(build.op("MatMul", x, build.weight(units, 3)))
    InferShapes()(model)
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    return Problem(model, find_dependencies(model), Dataset.open({"x": x}), WalkOptions())


@pytest.mark.parametrize(
    ("units", "asked"),
    [
        (128, [64]),
        (96, [48]),
        (72, [64, 48, 40]),  # half of it is no whole number of blocks of 16
        (32, [24, 16]),
        (5, [4, 3]),
    ],
)
def test_in_large_groups_the_least_number_is_enough(units: int, asked: list[int]) -> None:
    problem = problem_of(units)
    rankings = rank_groups(problem)
    seen: list[int] = []

    def ratios(selections: Sequence[Selection]) -> list[float]:
        seen.extend(int(one.units[rankings[0].units].sum()) for one in selections)
        return [count / units for count in seen]

    influence = Influence({one.name: 1.0 for one in rankings}, {})
    (cuts,) = offered_cuts(problem, rankings, {}, influence, ratios)
    assert seen == asked
    assert len(cuts) >= min(2, units // 2)
    for one in cuts:
        assert one.ratio == pytest.approx((units - one.units) / units)
