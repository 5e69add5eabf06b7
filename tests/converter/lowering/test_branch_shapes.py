"""Convolutions inside the branches of a condition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converter import convert


def either(keras: Any, *, last: bool) -> Any:
    """A layer that convolves its images if there are any; ``last`` says in which branch."""

    class Either(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.halved = keras.layers.Conv2D(4, 2, strides=2)
            self.mixed = keras.layers.Conv2D(5, 3, padding="same")

        def build(self, shape: Any) -> None:
            self.halved.build((None, *shape[2:]))
            self.mixed.build((None, 4, 4, 4))

        def call(self, images: Any) -> Any:
            batch, count, *rest = keras.ops.shape(images)

            def convolved() -> Any:
                flat = keras.ops.reshape(images, (batch * count, *rest))
                mixed = self.mixed(self.halved(flat))
                return keras.ops.max(keras.ops.reshape(mixed, (batch, count, 80)), axis=1)

            def nothing() -> Any:
                return keras.ops.zeros((batch, 80))

            if last:
                return keras.ops.cond(keras.ops.equal(count, 0), nothing, convolved)
            return keras.ops.cond(keras.ops.greater(count, 0), convolved, nothing)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 80)

    inputs = keras.Input((None, 8, 8, 3), name="images")
    return keras.Model(inputs, Either()(inputs))


@pytest.mark.parametrize("last", [True, False])
def test_convolutions_in_a_branch(keras: Any, tmp_path: Path, last: bool) -> None:
    model = either(keras, last=last)
    convert(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for count in (0, 1, 3):
        shape = (2, count, 8, 8, 3)
        images = np.random.default_rng(count).standard_normal(shape).astype(np.float32)
        (given,) = session.run(None, {"images": images})
        expected = np.asarray(model(images, training=False))
        np.testing.assert_allclose(given, expected, atol=1e-5)
