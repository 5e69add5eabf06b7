"""Regression from streamed sums equals regression on everything at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converter.pruning.regression.normal_equations import NormalEquations, choose_damping

RNG = np.random.default_rng(0)


def streamed(x: Any, t: Any, pieces: int) -> NormalEquations:
    sums = NormalEquations.empty(x.shape[0], x.shape[2], t.shape[2])
    for rows_x, rows_t in zip(
        np.array_split(x, pieces, axis=1), np.array_split(t, pieces, axis=1), strict=True
    ):
        sums.update(rows_x, rows_t)
    return sums


@pytest.fixture
def data() -> tuple[Any, Any, Any]:
    x = RNG.normal(size=(2, 300, 5)) + 3.0
    weights = RNG.normal(size=(2, 5, 3))
    return x, x @ weights + [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=(2, 300, 3)), weights


@pytest.mark.parametrize("pieces", [1, 7])
def test_least_squares(data: Any, pieces: int) -> None:
    x, t, _ = data
    sums = streamed(x, t, pieces)
    weights = sums.solve(np.zeros((2, 5, 3)), 0.0)
    for group in range(2):
        design = np.concatenate([x[group], np.ones((300, 1))], axis=1)
        expected = np.linalg.lstsq(design, t[group], rcond=None)[0]
        np.testing.assert_allclose(weights[group], expected[:5], rtol=1e-9)
        np.testing.assert_allclose(sums.bias(weights)[group], expected[5], rtol=1e-7)


def test_without_a_bias_nothing_is_centred(data: Any) -> None:
    x, t, _ = data
    weights = streamed(x, t, 3).solve(np.zeros((2, 5, 3)), 0.0, centred=False)
    expected = np.linalg.lstsq(x[0], t[0], rcond=None)[0]
    np.testing.assert_allclose(weights[0], expected, rtol=1e-9)


def test_error_is_the_mean_squared_error(data: Any) -> None:
    x, t, weights = data
    bias = RNG.normal(size=(2, 3))
    expected = ((x @ weights + bias[:, None] - t) ** 2).mean(axis=1).sum()
    assert streamed(x, t, 2).error(weights, bias) == pytest.approx(expected)


def test_the_ridge_draws_towards_the_prior(data: Any) -> None:
    x, t, _ = data
    prior = RNG.normal(size=(2, 5, 3))
    sums = streamed(x, t, 1)
    free = sums.solve(prior, 0.0)
    distances = [np.abs(sums.solve(prior, d) - prior).max() for d in (0.0, 0.1, 10.0, 1e6)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] == pytest.approx(np.abs(free - prior).max())
    assert distances[-1] < 1e-4


def test_a_column_that_is_always_zero_keeps_its_prior() -> None:
    x = RNG.normal(size=(1, 50, 3))
    x[..., 1] = 0.0
    prior = RNG.normal(size=(1, 3, 2))
    weights = streamed(x, x @ prior, 1).solve(prior, 1e-4)
    np.testing.assert_allclose(weights, prior, rtol=1e-6)


def test_few_rows_choose_a_strong_damping_and_many_a_weak_one() -> None:
    prior = np.zeros((1, 40, 1))
    weights = RNG.normal(size=(1, 40, 1))
    chosen = {}
    for rows in (30, 3000):
        halves = []
        for _ in range(2):
            x = RNG.normal(size=(1, rows, 40))
            halves.append(streamed(x, x @ weights + 6 * RNG.normal(size=(1, rows, 1)), 1))
        chosen[rows] = choose_damping(halves[0], halves[1], prior, (1e-4, 1e-2, 1.0, 100.0))
    assert chosen[30] > chosen[3000]


def test_of_those_that_explain_alike_the_strongest() -> None:
    """Two columns are nearly equal: a weak ridge makes anything of their difference."""
    prior = np.array([[[1.0], [1.0]]])
    halves, noisy = [], []
    for _ in range(2):
        one = RNG.normal(size=(1, 400, 1))
        x = np.concatenate([one, one + 1e-3 * RNG.normal(size=one.shape)], axis=2)
        t = 2.2 * one + 0.1 * RNG.normal(size=one.shape)
        halves.append(streamed(x, t, 1))
        noisy.append(streamed(x + 0.1 * RNG.normal(size=x.shape), t, 1))
    damping = choose_damping(halves[0], halves[1], prior, (1e-7, 1e-4, 1e-2))
    assert damping == 1e-2
    errors = []
    for one in (1e-7, damping):
        weights = halves[0].solve(prior, one)
        errors.append(noisy[1].error(weights, halves[0].bias(weights)))
    assert errors[1] < 0.5 * errors[0]


def test_what_is_explained_exactly_needs_no_luck_of_rounding() -> None:
    x, prior = RNG.normal(size=(1, 50, 3)), RNG.normal(size=(1, 3, 2))
    exact = streamed(x, x @ prior, 1)
    assert choose_damping(exact, exact, prior, (1e-4, 1e-1, 1.0)) == 1.0


def test_nothing_to_judge_on_means_caution() -> None:
    empty = NormalEquations.empty(1, 2, 1)
    x = RNG.normal(size=(1, 9, 2))
    assert choose_damping(streamed(x, x[..., :1], 1), empty, np.zeros((1, 2, 1)), (0.1, 0.2)) == 0.2


def test_a_constant_column_keeps_to_the_prior() -> None:
    """Its covariance is rounding alone, and must not be divided by."""
    x = np.concatenate([np.full((1, 300, 2), 0.1), RNG.normal(size=(1, 300, 1))], axis=2)
    targets = x @ np.ones((1, 3, 1)) + 0.3
    for columns in (x[..., :2], x):
        sums = NormalEquations.empty(1, columns.shape[2], 1)
        sums.update(columns, targets)
        prior = np.full((1, columns.shape[2], 1), 2.0)
        solved = sums.solve(prior, 1e-6)
        np.testing.assert_allclose(solved[:, :2], prior[:, :2], rtol=1e-12)


@pytest.mark.parametrize("share", [1e-16, 1e-14, 1e-12])
def test_what_rounding_left_of_a_constant_moves_nothing(share: float) -> None:
    """Whatever digits the kernels of a CPU leave in the sums."""
    x = np.concatenate([np.full((1, 300, 2), 0.1), RNG.normal(size=(1, 300, 1))], axis=2)
    sums = streamed(x, x @ np.ones((1, 3, 1)) + 0.3, 1)
    prior = np.full((1, 3, 1), 2.0)
    before = sums.solve(prior, 1e-6)
    sums.xx[:, :2, :2] *= 1 + share * RNG.normal(size=(2, 2))
    sums.xt[:, :2] *= 1 + share * RNG.normal(size=(2, 1))
    np.testing.assert_allclose(sums.solve(prior, 1e-6), before, rtol=1e-9)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_variance_of_what_weights_make_is_that_of_the_targets(groups: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(groups, 300, 6)) + 2.0
    weights = rng.normal(size=(groups, 6, 4))
    t = x @ weights + rng.normal(size=4)
    whole, inputs = NormalEquations.empty(groups, 6, 4), NormalEquations.empty(groups, 6, 0)
    for rows in np.array_split(np.arange(300), 7):
        whole.update(x[:, rows], t[:, rows])
        inputs.update(x[:, rows], x[:, rows, :0])
    assert inputs.variance_through(weights) == pytest.approx(whole.variance(), rel=1e-9)
    assert inputs.variance_through(weights) == pytest.approx(t.var(axis=1).sum(), rel=1e-9)


def test_a_large_mean_costs_nothing_in_float32() -> None:
    """The sums are those about the first rows' means, whatever lies far from zero."""
    rng = np.random.default_rng(3)
    x = (1000 + 0.1 * rng.normal(size=(1, 600, 5))).astype(np.float32)
    t = (x.astype(np.float64) @ rng.normal(size=(1, 5, 2)) - 300).astype(np.float32)
    halves = [
        streamed(part_x, t[:, rows], 4)
        for rows in np.split(np.arange(600), 2)
        for part_x in [x[:, rows]]
    ]
    total = halves[0].plus(halves[1])
    exact = streamed(x.astype(np.float64), t.astype(np.float64), 1)
    for one, other in zip(total.covariance(), exact.covariance(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
    weights = total.solve(np.zeros((1, 5, 2)), 1e-6)
    np.testing.assert_allclose(total.bias(weights), exact.bias(weights), rtol=1e-6)
    assert total.error(weights, total.bias(weights)) < 1e-4 * total.variance()


def test_sums_about_another_origin_are_those_of_the_same_rows() -> None:
    rng = np.random.default_rng(4)
    x, t = rng.normal(size=(2, 50, 3)) + 2.0, rng.normal(size=(2, 50, 2)) - 1.0
    raw = streamed(x, t, 3).about(np.zeros((2, 3)), np.zeros((2, 2)))
    across = x.transpose(0, 2, 1)
    np.testing.assert_allclose(raw.xx, across @ x)
    np.testing.assert_allclose(raw.xt, across @ t)
    np.testing.assert_allclose(raw.x, x.sum(axis=1))
    np.testing.assert_allclose(raw.tt, (t * t).sum(axis=1))
    uncentred = streamed(x, t, 3).covariance(centred=False)
    np.testing.assert_allclose(uncentred[0], across @ x / 50)
