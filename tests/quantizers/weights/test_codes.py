"""Codes of weights: a weight that several operators read has one set of them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions
from quantizers.calibration.statistics import observe
from quantizers.policy.plan import make_plan
from quantizers.qdq.grids import assign_grids
from quantizers.rewrites.prepare import prepare
from quantizers.weights.codes import quantize_weights
from quantizers.weights.saturation import code_range, kernel_order, largest_pair_sum

W = np.abs(np.random.default_rng(0).normal(size=(8, 8))).astype(np.float32)


@pytest.fixture
def shared(graph) -> ir.Model:
    """One weight, read by what has small codes and by what has large ones."""
    return prepare(
        graph(
            """g (float[n, 8] x, float[8, 8] w) => (float[n, 8] y, float[n, 8] z)
            { [small] y = MatMul (x, w) a = Exp (x) [large] z = MatMul (a, w) }""",
            {"w": W},
        )
    )


@pytest.mark.parametrize("rounding", ["nearest", "in turn", "learned"])
def test_a_shared_weight_saturates_for_none_of_its_readers(shared, bound, rounding) -> None:
    x = np.full((20, 8), -1, np.float32)
    x[:, ::2] = np.linspace(0, 1, 20)[:, None]
    data = bound(shared, x=x)
    plan = make_plan(shared.graph)
    options = QuantizeOptions(rounding=rounding)
    statistics = observe(shared, plan, data, options)
    grids = assign_grids(plan, {n: statistics.range(n) for n in statistics.observers})
    found = quantize_weights(plan, grids, statistics, {}, options)
    assert found.weights["small"] is found.weights["large"]
    assert found.levels["small"] == found.levels["large"] < 127
    alone = {}
    for unit in plan.units:
        low, high = statistics.channels(str(unit.data[0].name))
        grid = grids[unit.data[0]]
        codes = kernel_order(unit, found.weights[unit.name].codes)
        assert largest_pair_sum(codes, code_range(unit, grid, low, high, 8)).max() <= 1
        others = {str(node.name) for node in shared.graph} - {unit.name}
        only = make_plan(shared.graph, others)
        alone |= quantize_weights(only, grids, statistics, {}, options).levels
    assert found.levels["small"] == min(alone.values())
    assert len(set(alone.values())) == 2  # or one of them would have sufficed
