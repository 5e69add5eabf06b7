"""Dilated and causal convolutions as one operator each.

TensorFlow dilates by moving space into the batch and back, around a convolution without
dilation; traced with a dynamic size that is some sixty operators. Its Conv2D operator knows
dilations, though not on every device, and what is traced for export is never run. It knows
paddings, too, and Keras pads a causal convolution by an operator of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converter.lowering.markers import Replacement


def dilation_replacements() -> list[Replacement]:
    """What is behind Keras' convolutions and is replaced while tracing."""
    from keras import layers

    backend = importlib.import_module("keras.src.backend.tensorflow.nn")
    return [
        Replacement(layers.Conv1D, "call", _causal),
        Replacement(backend, "conv", _conv),
        Replacement(backend, "depthwise_conv", _depthwise_conv),
    ]


def _conv(  # noqa: PLR0917  # Keras' own signature
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """``keras.ops.conv`` where it is dilated."""
    import tensorflow as tf

    window = _window(
        inputs,
        kernel,
        strides=strides,
        padding=padding,
        data_format=data_format,
        dilation_rate=dilation_rate,
    )
    if window is None:
        return NotImplemented
    if len(window.strides) == 3:
        if window.same and set(window.strides) != {1}:
            return NotImplemented
        return tf.raw_ops.Conv3D(
            input=inputs,
            filter=kernel,
            strides=window.full(window.strides),
            padding="SAME" if window.same else "VALID",
            data_format="NDHWC" if window.channels_last else "NCDHW",
            dilations=window.full(window.dilations),
        )
    return _planar(tf.raw_ops.Conv2D, inputs, kernel, window)


def _depthwise_conv(  # noqa: PLR0917  # Keras' own signature
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """``keras.ops.depthwise_conv`` where it is dilated, with or without strides."""
    import tensorflow as tf

    window = _window(
        inputs,
        kernel,
        strides=strides,
        padding=padding,
        data_format=data_format,
        dilation_rate=dilation_rate,
    )
    if window is None:
        return NotImplemented
    return _planar(tf.raw_ops.DepthwiseConv2dNative, inputs, kernel, window)


def _causal(layer: Any, inputs: Any) -> Any:
    """``Conv1D`` that looks back only: all of its padding is before the first step."""
    import keras
    import tensorflow as tf

    kernel = keras.ops.convert_to_tensor(layer.kernel)
    if layer.padding != "causal" or inputs.dtype != kernel.dtype:
        return NotImplemented
    channels_last = layer.data_format == "channels_last"
    before = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    window = _Window(
        channels_last,
        same=False,
        strides=tuple(layer.strides),
        dilations=tuple(layer.dilation_rate),
        pads=((before, 0),),
    )
    outputs = _planar(tf.raw_ops.Conv2D, inputs, kernel, window)
    if layer.use_bias:
        shape = (1, 1, layer.filters) if channels_last else (1, layer.filters, 1)
        outputs = keras.ops.add(outputs, keras.ops.reshape(layer.bias, shape))
    return outputs if layer.activation is None else layer.activation(outputs)


@dataclass(frozen=True)
class _Window:
    """How a kernel moves over the spatial axes, and what is padded before and after each."""

    channels_last: bool
    same: bool
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    def full(self, values: Sequence[Any], other: Any = 1) -> list[Any]:
        """Spatial values with those of the batch and the channels."""
        return [other, *values, other] if self.channels_last else [other, other, *values]


def _window(
    inputs: Any,
    kernel: Any,
    *,
    strides: Any,
    padding: str,
    data_format: str | None,
    dilation_rate: Any,
) -> _Window | None:
    """None where nothing is dilated, or the padding cannot be known."""
    import keras

    rank = len(inputs.shape) - 2
    dilations = _each(1 if dilation_rate is None else dilation_rate, rank)
    if set(dilations) == {1} or inputs.dtype != kernel.dtype:
        return None
    channels_last = (data_format or keras.config.image_data_format()) == "channels_last"
    sizes = inputs.shape[1:-1] if channels_last else inputs.shape[2:]
    same = padding.lower() == "same"
    strides = _each(strides, rank)
    pads: list[tuple[int, int]] = []
    for size, kernel_size, stride, dilation in zip(
        sizes, kernel.shape[:rank], strides, dilations, strict=True
    ):
        extent = (kernel_size - 1) * dilation + 1
        if not same:
            total = 0
        elif stride == 1:  # independent of the size
            total = extent - 1
        elif size is None:
            return None
        else:
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        pads.append((total // 2, total - total // 2))
    return _Window(channels_last, same, strides, dilations, tuple(pads))


def _planar(operator: Any, inputs: Any, kernel: Any, window: _Window) -> Any:
    """A convolution over one or two axes by an operator for two."""
    import tensorflow as tf

    flat = len(window.strides) == 1
    axis = 1 if window.channels_last else 2
    if flat:
        inputs, kernel = tf.expand_dims(inputs, axis), tf.expand_dims(kernel, 0)
        window = _Window(
            window.channels_last,
            window.same,
            (1, *window.strides),
            (1, *window.dilations),
            ((0, 0), *window.pads),
        )
    padded = any(sum(pad) for pad in window.pads)
    result = operator(
        input=inputs,
        filter=kernel,
        strides=window.full(window.strides),
        padding="EXPLICIT" if padded else "VALID",
        explicit_paddings=[n for pad in window.full(window.pads, (0, 0)) for n in pad]
        if padded
        else [],
        data_format="NHWC" if window.channels_last else "NCHW",
        dilations=window.full(window.dilations),
    )
    return tf.squeeze(result, [axis]) if flat else result


def _each(values: Any, rank: int) -> tuple[int, ...]:
    return (values,) * rank if isinstance(values, int) else tuple(values)
