"""Live models of Keras 2 become models of Keras 3 that compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.errors import ConversionError
from runtimes.keras_models.live_keras2 import is_live_keras2
from runtimes.keras_models.load import load_keras_model
from runtimes.keras_models.signature import keras_signature

tf_keras = pytest.importorskip("tf_keras")


def convolutional() -> Any:
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
        ]
    )


def with_a_lambda() -> Any:
    inputs = tf_keras.Input((8, 8, 3), name="image")
    return tf_keras.Model(inputs, tf_keras.layers.Lambda(lambda x: 2 * x + 1)(inputs))


def with_own_layer() -> Any:
    class Scaled(tf_keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.factor = self.add_weight("factor", shape=(shape[-1],), initializer="normal")

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    inputs = tf_keras.Input((8, 8, 3), name="image")
    return tf_keras.Model(inputs, Scaled()(inputs))


class Subclassed(tf_keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = tf_keras.layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


MODELS = {
    "sequential": convolutional,
    "lambda": with_a_lambda,
    "own layer": with_own_layer,
    "subclassed": Subclassed,
}


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_the_same(keras: Any, name: str) -> None:
    model = MODELS[name]()
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(model(x, training=False))
    before = [np.array(weight) for weight in model.get_weights()]
    assert is_live_keras2(model)
    found = load_keras_model(model)
    assert isinstance(found, keras.Model)
    (output,) = keras.tree.flatten(keras_signature(found).call(found, [x]))
    np.testing.assert_allclose(np.asarray(output), expected, atol=1e-5)
    for weight, after in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, after)


def test_a_model_that_was_never_called_is_refused(keras: Any) -> None:
    with pytest.raises(ConversionError, match=r"cannot be saved.*call it on a batch"):
        load_keras_model(Subclassed())


def test_a_model_of_keras_3_is_none(digits_model: Any) -> None:
    assert not is_live_keras2(digits_model)
