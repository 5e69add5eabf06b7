"""Windows over images: patches and dilation, of sizes that are known or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.sweep(3)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("strides", "rates"), [((2, 3), (1, 1)), ((1, 1), (2, 1))])
@pytest.mark.parametrize("known", [True, False])
def test_patches_and_dilation(
    keras: Any, parity: Any, *, padding: str, strides: Any, rates: Any, known: bool
) -> None:
    import tensorflow as tf

    weights = np.random.default_rng(1).normal(size=(3, 2, 2)).astype(np.float32)
    strides, rates = ([1, *pair, 1] for pair in (strides, rates))

    def windows(x: Any) -> Any:
        return [
            tf.image.extract_patches(x, [1, 3, 2, 1], strides, rates, padding),
            tf.nn.dilation2d(x, weights, strides, padding, "NHWC", rates),
            tf.nn.erosion2d(x, weights, strides, padding, "NHWC", rates),
        ]

    tensor = keras.Input((9, 8, 2) if known else (None, None, 2))
    model = keras.Model(tensor, keras.layers.Lambda(windows)(tensor))
    rng = np.random.default_rng(0)
    sizes = [(9, 8)] if known else [(9, 8), (6, 11)]
    parity(model, [[rng.normal(size=(2, *size, 2)).astype(np.float32)] for size in sizes])
