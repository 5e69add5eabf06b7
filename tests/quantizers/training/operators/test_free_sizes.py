"""Converted Keras models inside of tf.function, with batches and lengths that it does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import convert
from quantizers.training.graph import TrainableGraph
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files.load_save import load_model


def attention(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((None, 8))
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


def flattened(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((8, 8, 2))
    y = layers.MaxPooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


def both_ways(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((None, 5))
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    return keras.Model(x, layers.Dense(2)(layers.GRU(3)(y)))


def masked(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((None,), dtype="int32")
    y = layers.Embedding(20, 6, mask_zero=True)(x)
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(y)
    return keras.Model(x, layers.Dense(2)(layers.Bidirectional(layers.GRU(4))(y)))


def each_step(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((None, 8, 8, 1))
    y = layers.TimeDistributed(layers.Conv2D(3, 3, strides=2))(x)
    y = layers.SimpleRNN(4)(layers.TimeDistributed(layers.Flatten())(y))
    return keras.Model(x, layers.Dense(2)(y))


def series(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((None, 4))
    y = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="gelu")(x)
    y = layers.Conv1D(6, 3, padding="same", strides=2)(y)
    y = layers.Conv1DTranspose(4, 3, strides=2, padding="same")(y)
    return keras.Model(x, layers.GlobalMaxPooling1D()(y))


def spaces(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((6, 6, 6, 1))
    y = layers.Conv3D(4, 3, padding="same", activation="elu")(x)
    y = layers.Conv3DTranspose(2, 2, strides=2)(layers.AveragePooling3D(2)(y))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


def images(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((None, None, 3))
    y = layers.SeparableConv2D(8, 3, strides=2, padding="same")(x)
    y = layers.DepthwiseConv2D(3, padding="same")(layers.BatchNormalization()(y))
    y = layers.AveragePooling2D(3, strides=2, padding="same")(y)
    y = layers.UpSampling2D(2, interpolation="bilinear")(y)
    y = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(y)
    return keras.Model(x, layers.UpSampling2D(2)(y))


MODELS: dict[Callable[[Any], Any], tuple[int, ...]] = {
    attention: (2, 7, 8),
    flattened: (3, 8, 8, 2),
    both_ways: (3, 6, 5),
    each_step: (2, 3, 8, 8, 1),
    series: (2, 11, 4),
    spaces: (2, 6, 6, 6, 1),
    images: (2, 8, 10, 3),
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("build", MODELS)
def test_free_sizes_stay_free(build: Callable[[Any], Any], keras: Any, tmp_path: Path) -> None:
    shape = MODELS[build]
    compare(build(keras), np.random.default_rng(0).normal(size=shape).astype(np.float32), tmp_path)


@pytest.mark.slow
def test_masked_sequences_stay_free(keras: Any, tmp_path: Path) -> None:
    tokens = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 0, 0, 0]], np.int32)
    compare(masked(keras), tokens, tmp_path)


def compare(model: Any, x: Any, folder: Path) -> None:
    """Values are ONNX Runtime's, and every parameter has a gradient."""
    import tensorflow as tf

    convert(model, folder / "model.onnx")
    source = load_model(folder / "model.onnx")
    graph = TrainableGraph(source)
    (spec,) = graph.inputs
    sizes = [size if isinstance(size, int) else None for size in spec.shape]
    assert None in sizes
    values = {name: tf.constant(value) for name, value in graph.initial().items()}

    @tf.function(input_signature=[tf.TensorSpec(sizes, x.dtype)])
    def step(given: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            found = graph.run(values, {spec.name: given})
            loss = tf.add_n([tf.reduce_sum(value**2) for value in found.values()])
        return found, tape.gradient(loss, values)

    found, gradients = step(x)
    with OrtRuntime(source, threads=1) as runtime:
        expected = runtime.run({spec.name: x})
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5)
    assert all(gradient is not None for gradient in gradients.values())
