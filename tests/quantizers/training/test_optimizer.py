"""Adam: the rate, steps by each parameter's size, and the average of the last steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantizers.training.optimizer import Adam, size_of


@pytest.fixture
def adam(keras: Any) -> Adam:
    large = np.full((2, 2), 100.0, np.float32)
    return Adam({"large": large, "small": large / 100}, rate=0.1, steps=40, warmup=1)


def step(adam: Adam, gradient: float) -> None:
    adam.apply(np.full(8, gradient, np.float32), adam.settings())


def now(adam: Adam, name: str) -> Any:
    return adam.named(adam.learned)[name].numpy()


def test_parameters_have_their_shapes(keras: Any) -> None:
    initial = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.full((), 7, np.float32)}
    adam = Adam(initial, rate=0.1, steps=40, warmup=1)
    for name, array in adam.values().items():
        np.testing.assert_array_equal(array, initial[name], strict=True)


def test_steps_go_with_the_size_of_a_parameter(adam: Adam) -> None:
    step(adam, 1.0)
    large, small = 100.0 - now(adam, "large"), 1.0 - now(adam, "small")
    np.testing.assert_allclose(large, 100 * small, rtol=1e-3)
    assert large[0, 0] == pytest.approx(0.1 * 100, rel=0.01)


def test_a_rate_may_be_set_later(adam: Adam) -> None:
    adam.rate = 0.01
    step(adam, 1.0)
    assert now(adam, "small")[0, 0] == pytest.approx(0.99, rel=1e-3)


def test_what_is_kept_is_the_average_of_the_last_steps(adam: Adam) -> None:
    """The first two of 40 steps are averaged alike, later ones with those before them."""
    passed = []
    for sign in (1.0, -1.0, 1.0):
        step(adam, sign)
        passed.append(now(adam, "small"))
    first_two = np.mean(passed[:2], axis=0)
    np.testing.assert_allclose(adam.values()["small"], 0.5 * (first_two + passed[2]), rtol=1e-5)


def test_a_parameter_without_a_gradient_stays(adam: Adam) -> None:
    gradient = np.repeat(np.array([0.0, 1.0], np.float32), 4)
    adam.apply(gradient, adam.settings())
    np.testing.assert_array_equal(adam.values()["large"], np.full((2, 2), 100.0, np.float32))


def test_a_bias_of_zeros_may_move() -> None:
    assert size_of(np.zeros(4, np.float32)) > 0
