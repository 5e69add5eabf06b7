"""Diagonals of matrices that are no squares, and of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def applied(keras: Any, call: Callable[[Any], Any], *shape: int | None) -> Any:
    class Apply(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return call(x)

    tensor = keras.Input(shape)
    return keras.Model(tensor, Apply()(tensor))


@pytest.mark.sweep(4)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
@pytest.mark.parametrize("offset", [0, 1, -2])
def test_one_diagonal(keras: Any, parity: Any, shape: tuple[int, int], offset: int) -> None:
    import tensorflow as tf

    def call(x: Any) -> Any:
        return tf.linalg.set_diag(x, 2 * tf.linalg.diag_part(x, k=offset) + 1, k=offset)

    values = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    parity(applied(keras, call, *shape), [[values]])
    parity(applied(keras, call, None, shape[1]), [[values]])


@pytest.mark.parametrize("offset", [0, 2, -1])
def test_matrices_of_a_vector(keras: Any, parity: Any, offset: int) -> None:
    import tensorflow as tf

    def call(x: Any) -> Any:
        return [
            tf.linalg.diag(x, k=offset),
            tf.linalg.diag(x, k=offset, num_cols=6, padding_value=7.0),
            tf.linalg.diag(x, k=offset, num_rows=6),
        ]

    values = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    parity(applied(keras, call, None), [[values], [values[:1]]])


def test_tensors(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def call(x: Any) -> Any:
        spread = tf.linalg.tensor_diag(x)
        return [spread, tf.linalg.tensor_diag_part(spread + 1)]

    parity(applied(keras, call, 3), [[np.array([[1, np.float32(2.5), -3]], np.float32)]])


@pytest.mark.sweep(5)
@pytest.mark.parametrize("align", ["RIGHT_LEFT", "LEFT_RIGHT", "LEFT_LEFT", "RIGHT_RIGHT"])
@pytest.mark.parametrize("band", [(-1, 1), (0, 2), (-2, -1), (1, 2)])
def test_bands(keras: Any, parity: Any, band: tuple[int, int], align: str) -> None:
    import tensorflow as tf

    def call(x: Any) -> Any:
        found = tf.linalg.diag_part(x, k=band, padding_value=9.0, align=align)
        return [
            found,
            tf.linalg.diag(found, k=band, align=align, padding_value=5.0),
        ]

    values = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    for shape in ((4, 5), (None, 5)):
        parity(applied(keras, call, *shape), [[values]])
    parity(applied(keras, call, 4, 4), [[values[:, :, :4]]])
    parity(applied(keras, call, 5, 4), [[values.transpose(0, 2, 1)]])
