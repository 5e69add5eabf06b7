"""Several steps in one call: they do what one after the other does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantizers.training.at_once import TracedSteps, in_turn, is_like, stacked, steps_at_once
from quantizers.training.pool import Group


def group(count: int, width: int = 4, seed: int = 0) -> Group:
    random = np.random.default_rng(seed)
    array = random.standard_normal((count, width)).astype(np.float32)
    return Group({"x": array}, {"y": array[:, :1]})


@pytest.mark.parametrize(
    ("gap", "width", "steps"),
    [(15, 4, 15), (120, 4, 15), (17, 4, 1), (15, 2**17, 5), (9, 2**22, 1)],
)
def test_a_gap_is_a_number_of_calls_that_fit_into_memory(gap: int, width: int, steps: int) -> None:
    samples = Group({"x": np.zeros((1, width), np.float32)}, {"y": np.zeros((1, 1), np.float32)})
    assert steps_at_once([samples], 3, gap) == steps


def test_steps_follow_each_other(keras: Any) -> None:
    import tensorflow as tf

    sums = tf.Variable(np.zeros((3, 4), np.float32))

    def step(feed: Any, targets: Any, settings: Any) -> None:
        sums.assign(settings[0] * sums + feed["x"] * targets["y"])

    batches = [group(3, seed=seed) for seed in range(4)]
    taken = stacked(batches)
    settings = np.float32([[0.5], [0.25], [2.0], [1.0]])
    tf.function(in_turn(step))(dict(taken.feed), dict(taken.targets), settings)
    wanted = np.zeros((3, 4), np.float32)
    for batch, (share,) in zip(batches, settings, strict=True):
        wanted = share * wanted + batch.feed["x"] * batch.targets["y"]
    np.testing.assert_array_equal(sums.numpy(), wanted)


def test_batches_of_other_shapes_are_not_alike() -> None:
    assert is_like(group(3), group(3, seed=1))
    assert not is_like(group(3), group(3, width=5))


def test_what_is_traced_serves_any_number_of_batches(keras: Any) -> None:
    import tensorflow as tf

    traced: list[int] = []
    sums = tf.Variable(np.zeros(4, np.float32))

    def steps(feed: Any, targets: Any, settings: Any) -> None:
        traced.append(1)
        in_turn(lambda feed, targets, share: sums.assign_add(share[0] * feed["x"][0]))(
            feed, targets, settings
        )

    found = TracedSteps(steps)
    wanted = np.zeros(4, np.float32)
    for number in (3, 1, 2):
        batches = stacked([group(2, seed=seed) for seed in range(number)])
        found.take(batches, np.ones((number, 1), np.float32))
        wanted += batches.feed["x"][:, 0].sum(0)
    np.testing.assert_allclose(sums.numpy(), wanted, rtol=1e-6)
    assert len(traced) == 1
    assert found.serves


def test_many_shapes_are_taken_as_one(keras: Any) -> None:
    traced: list[int] = []
    found = TracedSteps(lambda *_: traced.append(1))
    for width in range(1, 12):
        found.take(stacked([group(2, width)]), np.ones((1, 1), np.float32))
    assert len(traced) < 8
    assert not found.serves
