"""The order of removal, against removing by hand and solving anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.pruning.ranking.importance import Reader, at_random, by_weight_norm, second_order


def regression(seed: int, units: int, fan: int, outputs: int, noise: float = 1.0) -> Any:
    """Covariances of correlated inputs and of what a linear layer makes of them."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(units * fan, units * fan))
    x = rng.normal(size=(500, units * fan)) @ mix
    t = x @ rng.normal(size=(units * fan, outputs)) + noise * rng.normal(size=(500, outputs))
    return x.T @ x / len(x), x.T @ t / len(x), (t * t).mean(axis=0).sum()


def reader(own: Any, cross: Any, fan: int, scale: float = 1.0) -> Reader:
    inverse = np.linalg.inv(own)
    return Reader(inverse, inverse @ cross, np.repeat(np.arange(len(own) // fan), fan), scale)


def error_without(own: Any, cross: Any, power: float, gone: list[int], fan: int) -> float:
    """Mean squared error of the best fit on the columns that are left."""
    stay = [c for c in range(len(own)) if c // fan not in gone]
    weights = np.linalg.solve(own[np.ix_(stay, stay)], cross[stay])
    return float(power - (weights * cross[stay]).sum())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    units=st.integers(2, 7),
    fan=st.integers(1, 3),
    outputs=st.integers(1, 4),
)
def test_costs_are_what_the_best_refit_loses(seed: int, units: int, fan: int, outputs: int) -> None:
    own, cross, power = regression(seed, units, fan, outputs)
    found = second_order([reader(own, cross, fan)], units)
    assert sorted(found.order) == list(range(units))
    before = error_without(own, cross, power, [], fan)
    for count in range(1, units):
        gone = [int(unit) for unit in found.order[:count]]
        lost = error_without(own, cross, power, gone, fan) - before
        assert found.costs[count - 1] == pytest.approx(lost, rel=1e-4, abs=1e-8 * power)


def test_the_cheapest_goes_first_for_all_readers_together() -> None:
    first = regression(1, 5, 2, 3)
    second = regression(2, 5, 2, 3)
    readers = [
        reader(own, cross, 2, scale) for (own, cross, _), scale in ((first, 0.1), (second, 3.0))
    ]
    losses = [
        sum(
            scale * (error_without(*sums, [unit], 2) - error_without(*sums, [], 2))
            for sums, scale in ((first, 0.1), (second, 3.0))
        )
        for unit in range(5)
    ]
    found = second_order(readers, 5)
    assert found.order[0] == int(np.argmin(losses))
    assert found.costs[0] == pytest.approx(min(losses), rel=1e-6)


def test_columns_of_other_groups_make_up_but_do_not_go() -> None:
    own, cross, power = regression(3, 4, 1, 2)
    some = reader(own, cross, 1)
    some.unit = np.array([0, -1, 1, -1])
    found = second_order([some], 2)
    assert sorted(found.order) == [0, 1]
    lost = error_without(own, cross, power, [2 * int(found.order[0])], 1)
    assert found.costs[0] == pytest.approx(lost - error_without(own, cross, power, [], 1))


def test_a_redundant_unit_costs_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    x[:, 3] = x[:, 0] + x[:, 1]
    x += 1e-4 * rng.normal(size=x.shape)
    t = x @ rng.normal(size=(4, 2))
    found = second_order([reader(x.T @ x / 400, x.T @ t / 400, 1)], 4)
    assert found.order[0] in (0, 1, 3)
    assert found.costs[0] < 1e-5 < found.costs[1]


def test_readers_are_left_as_they_are() -> None:
    own, cross, _ = regression(4, 4, 1, 2)
    one = reader(own, cross, 1)
    second_order([one], 4)
    np.testing.assert_array_equal(one.inverse, np.linalg.inv(own))
    assert one.unit.tolist() == [0, 1, 2, 3]


def test_many_units_go_a_few_at_a_time() -> None:
    own, cross, _ = regression(5, 250, 1, 1)
    found = second_order([reader(own, cross, 1)], 250)
    assert sorted(found.order) == list(range(250))
    assert np.all(np.diff(found.costs[:-1]) >= 0)


def test_baselines() -> None:
    by_norm = by_weight_norm(np.array([3.0, 1.0, 2.0]))
    assert by_norm.order.tolist() == [1, 2, 0]
    np.testing.assert_allclose(by_norm.costs, np.array([1, 5, 14]) / 14)
    assert at_random(9, 1).order.tolist() == at_random(9, 1).order.tolist()
    assert at_random(9, 1).order.tolist() != at_random(9, 2).order.tolist()
