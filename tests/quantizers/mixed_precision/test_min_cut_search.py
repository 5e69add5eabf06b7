"""The cheapest mixture of INT8 and float, against trying all of them."""

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.mixed_precision.min_cut_search import cheapest_floats
from quantizers.mixed_precision.operator_costs import Cost
from quantizers.policy.plan import make_plan
from quantizers.rewrites.prepare import prepare


@pytest.fixture
def chain(graph) -> ir.Model:
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.normal(size=(4, 4, 1, 1)).astype(np.float32) for i in range(4)}
    return prepare(
        graph(
            """g (float[n, 4, 5, 5] x, float[4, 4, 1, 1] w0, float[4, 4, 1, 1] w1,
                 float[4, 4, 1, 1] w2, float[4, 4, 1, 1] w3) => (float[n, 4, 5, 5] y)
            { [a] h0 = Conv (x, w0)
              [b] h1 = Conv (h0, w1)
              [c] h2 = Conv (h0, w2)
              [add] s = Add (h1, h2)
              [d] y = Conv (s, w3) }""",
            weights,
        )
    )


def total(plan, floats, costs, boundary, noise, price) -> float:
    """The energy, written down anew: times, conversions once a value, noise."""
    spent = 0.0
    for unit in plan.units:
        cost = costs[unit.name]
        in_int8 = cost.int8_time * 0.95 + price * noise[unit.name]
        spent += cost.float_time if unit.name in floats else in_int8
    for value in plan.quantized_values():
        maker = plan.producer(value)
        readers = {unit.name for unit in plan.readers(value)}
        outside = value.is_graph_output() or any(
            use.node not in {unit.node for unit in plan.readers(value)} for use in value.uses()
        )
        if maker is None or maker.name in floats:
            spent += boundary if readers - floats else 0.0
        elif readers & floats or outside:
            spent += boundary
    return spent


@pytest.mark.parametrize("seed", range(12))
def test_the_cut_is_the_best_of_all_mixtures(chain: ir.Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = make_plan(chain.graph)
    names = [unit.name for unit in plan.units]
    assert set(names) == {"a", "b", "c", "add", "d"}
    costs = {n: Cost(*(float(t) for t in rng.integers(1000, 100_000, 2))) for n in names}
    noise = {n: float(rng.uniform(0, 1)) for n in names}
    boundary, price = float(rng.integers(0, 40_000)), float(rng.integers(0, 60_000))
    boundaries = {str(v.name): boundary for v in plan.quantized_values()}
    found = cheapest_floats(plan, costs, boundaries, noise, price)
    every = [set(c) for k in range(6) for c in itertools.combinations(names, k)]
    least = min(total(plan, floats, costs, boundary, noise, price) for floats in every)
    assert total(plan, found, costs, boundary, noise, price) == pytest.approx(least, abs=10)


def test_a_gain_that_does_not_pay_the_conversions_is_no_gain(chain: ir.Model) -> None:
    plan = make_plan(chain.graph)
    costs = {unit.name: Cost(100.0, 60.0) for unit in plan.units}
    dear = {str(v.name): 10_000.0 for v in plan.quantized_values()}
    cheap = dict.fromkeys(dear, 1.0)
    assert cheapest_floats(plan, costs, dear, {}, 0.0) == {unit.name for unit in plan.units}
    assert cheapest_floats(plan, costs, cheap, {}, 0.0) == set()
