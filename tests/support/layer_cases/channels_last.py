"""The channels-last twin of a channels-first layer, to say what the layer computes.

TensorFlow convolves channels first only on CPUs for which it was built with oneDNN. The kernels
of both layouts have one shape, so the twin takes the weights of the layer as they are.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

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


def is_dilated_transposed(layer: Any) -> bool:
    """Whether it is a transposed convolution with holes, which TensorFlow lacks on some CPUs."""
    dilated = max(getattr(layer, "dilation_rate", None) or (1,), default=1) > 1
    return dilated and re.fullmatch(r"Conv\dDTranspose", type(layer).__name__) is not None


def without_dilation(keras: Any, layer: Any) -> Any:
    """A model of the same transposed convolution whose kernel has zeros for the holes."""
    kernel, *bias = layer.get_weights()
    rank = len(layer.kernel_size)
    sizes = [
        (size - 1) * rate + 1
        for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    ]
    wide = np.zeros((*sizes, *kernel.shape[rank:]), kernel.dtype)
    wide[tuple(slice(None, None, rate) for rate in layer.dilation_rate)] = kernel
    config = layer.get_config() | {"kernel_size": sizes, "dilation_rate": (1,) * rank}
    inputs = keras.Input(batch_shape=layer.input.shape)
    model = keras.Model([inputs], type(layer).from_config(config)(inputs))
    model.set_weights([wide, *bias])
    return model
