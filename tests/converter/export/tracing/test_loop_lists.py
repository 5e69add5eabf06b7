"""Scans in both directions, with and without a first state, at every length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converter import convert


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("initial", [False, True])
def test_scans(keras: Any, tmp_path: Path, *, initial: bool, reverse: bool) -> None:
    import tensorflow as tf

    class Decay(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            steps = tf.transpose(x, (1, 0, 2))
            first = tf.ones_like(steps[0]) if initial else None
            found = tf.scan(lambda a, e: 0.5 * a + e, steps, initializer=first, reverse=reverse)
            return tf.transpose(found, (1, 0, 2))

    inputs = keras.Input((None, 3), name="x")
    model = keras.Model(inputs, Decay()(inputs))
    convert(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for length in (1, 2, 7):
        x = np.random.default_rng(0).normal(size=(2, length, 3)).astype(np.float32)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], model(x), atol=1e-5)
