"""The channels-last twin of a channels-first layer, to say what the layer computes.

TensorFlow convolves channels first only on CPUs for which it was built with oneDNN. The kernels
of both layouts have one shape, so the twin takes the weights of the layer as they are.
"""

from __future__ import annotations

import re
from typing import Any

NOT_EVERYWHERE = r"Conv\dD(Transpose)?|ConvLSTM\dD|STFTSpectrogram"
"""Layers whose convolution Keras leaves channels first, whatever the CPU can do."""


def needs_twin(layer: Any) -> bool:
    """Whether it depends on the CPU if TensorFlow runs ``layer``."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return first and re.fullmatch(NOT_EVERYWHERE, type(layer).__name__) is not None


def channels_last_twin(keras: Any, layer: Any) -> Any:
    """A model on channels first that transposes around the layer's channels-last form."""
    channels = 2 if "LSTM" in type(layer).__name__ else 1
    config = layer.get_config() | {"data_format": "channels_last"}
    inputs = keras.Input(batch_shape=layer.input.shape)
    output = type(layer).from_config(config)(_moved(keras, inputs, channels, -1))
    # An LSTM that returns its last step has no axis of time left.
    time_is_gone = channels == 2 and len(output.shape) < len(inputs.shape)
    return keras.Model(inputs, _moved(keras, output, -1, channels - time_is_gone))


def _moved(keras: Any, tensor: Any, source: int, target: int) -> Any:
    """Move one axis with a layer that keeps shapes static."""
    axes = list(range(len(tensor.shape)))
    axes.insert(target % len(axes), axes.pop(source % len(axes)))
    return keras.layers.Permute(axes[1:])(tensor)
