"""Rounding with the errors of outputs in mind."""

import numpy as np
import pytest

from quantizers.weights.rounding import (
    Grouped,
    eliminate,
    learn_rounding,
    output_error,
    round_in_turn,
    round_to_nearest,
)


@pytest.fixture
def layer() -> Grouped:
    """Two groups whose inputs are strongly correlated."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 6, 24))
    mix = rng.normal(size=(2, 24, 4))
    inputs = mix @ rng.normal(size=(2, 4, 500)) + 0.1 * rng.normal(size=(2, 24, 500))
    covariance = inputs @ inputs.transpose(0, 2, 1) / 500
    scale = np.abs(weight).max(axis=2, keepdims=True) / 15
    return Grouped(weight, scale, np.full((2, 6, 1), 15.0), covariance)


def test_errors_cancel_in_the_outputs(layer: Grouped) -> None:
    nearest, turn = round_to_nearest(layer), round_in_turn(layer)
    assert output_error(layer, turn) < 0.25 * output_error(layer, nearest)
    assert np.abs(turn).max() <= 15
    np.testing.assert_array_equal(turn, np.rint(turn))


def test_learned_rounding_is_never_worse(layer: Grouped) -> None:
    learned, turn = learn_rounding(layer), round_in_turn(layer)
    assert output_error(layer, learned) <= output_error(layer, turn) * (1 + 1e-9)
    np.testing.assert_array_equal(learned, np.rint(learned))
    assert np.abs(learned).max() <= 15


def test_learning_alone_beats_the_nearest(layer: Grouped, monkeypatch) -> None:
    from quantizers.weights import rounding

    monkeypatch.setattr(rounding, "round_in_turn", round_to_nearest)
    learned = learn_rounding(layer)
    assert output_error(layer, learned) < 0.7 * output_error(layer, round_to_nearest(layer))


def test_uncorrelated_inputs_round_to_the_nearest() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(1, 3, 10))
    layer = Grouped(weight, np.full((1, 3, 1), 0.1), np.full((1, 3, 1), 127.0), np.eye(10)[None])
    np.testing.assert_array_equal(round_in_turn(layer), round_to_nearest(layer))


def test_inputs_that_were_always_zero_do_no_harm() -> None:
    weight = np.random.default_rng(0).normal(size=(1, 3, 10))
    zero = Grouped(
        weight, np.full((1, 3, 1), 0.1), np.full((1, 3, 1), 127.0), np.zeros((1, 10, 10))
    )
    np.testing.assert_array_equal(round_in_turn(zero), round_to_nearest(zero))


@pytest.mark.parametrize("inputs", [1, 9, 64, 65, 200])
def test_the_factor_is_that_of_the_inverse(inputs: int) -> None:
    rng = np.random.default_rng(inputs)
    rows = rng.normal(size=(3, inputs, 2 * inputs)) * rng.uniform(0.1, 10, (3, inputs, 1))
    covariance = rows @ rows.transpose(0, 2, 1)
    found = eliminate(covariance)
    for group, order, factor in zip(covariance, found.order, found.factor, strict=True):
        ordered = group[np.ix_(order, order)]
        damped = ordered + 0.01 * np.trace(group) / inputs * np.eye(inputs)
        assert (np.diff(np.diag(ordered)) <= 0).all()
        np.testing.assert_array_equal(factor, np.triu(factor))
        assert (np.diag(factor) > 0).all()
        np.testing.assert_allclose(factor.T @ factor @ damped, np.eye(inputs), atol=1e-8)
