"""The small network of digits that quantization-aware training is measured on, in any Keras."""

from __future__ import annotations

from typing import Any


def trained_network(keras: Any, images: Any, labels: Any) -> Any:
    """A residual network with a depthwise convolution, whose weights need scales of their own."""
    layers = keras.layers
    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(y))
    y = layers.Conv2D(16, 1, use_bias=False)(y)
    x = layers.Add()([x, layers.BatchNormalization(momentum=0.9)(y)])
    x = layers.ReLU()(layers.Conv2D(32, 3, strides=2)(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, name="digit")(x), name="digits")
    model.compile(keras.optimizers.Adam(5e-3), loss_of(keras))
    model.fit(images, labels, batch_size=64, epochs=20, verbose=0)
    return model


def loss_of(keras: Any) -> Any:
    """What the network learns by."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
