"""Linear algebra by elimination: any size, batched, with pivots where zeros stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def matrices(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def model_of(keras: Any, function: Any, *shapes: tuple[int | None, ...]) -> Any:
    tensors = [keras.Input(shape) for shape in shapes]
    return keras.Model(tensors, keras.layers.Lambda(lambda xs: function(*xs))(tensors))


def test_every_size_is_one_loop(keras: Any, parity: Any) -> None:
    model = model_of(keras, keras.ops.inv, (None, None))
    samples = [[matrices(2, n, n) + n * np.eye(n, dtype=np.float32)] for n in (1, 4, 7)]
    operators = parity(model, samples)
    assert operators["Loop"] == 1


def test_a_zero_on_the_diagonal_is_no_pivot(keras: Any, parity: Any) -> None:
    model = model_of(keras, keras.ops.solve, (2, 2), (2, 3))
    turned = np.array([[[0, 2], [1, 0]]], np.float32)
    parity(model, [[turned, matrices(1, 2, 3)]])


@pytest.mark.parametrize("size", [(5, 3), (4, 4)])
def test_reflections_have_the_signs_of_lapack(
    keras: Any, parity: Any, size: tuple[int, int]
) -> None:
    model = model_of(keras, keras.ops.qr, size)
    parity(model, [[matrices(2, *size)]])
