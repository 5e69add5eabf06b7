"""UpSampling layers as one Resize."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.markers import Lowering, Marker, Replacement, mark

KIND = "upsampling"


def upsampling_replacements() -> list[Replacement]:
    """The methods of Keras' upsampling layers that markers stand in for."""
    from keras import layers

    return [
        Replacement(layers.UpSampling1D, "call", _upsampling),
        Replacement(layers.UpSampling2D, "call", _upsampling),
        Replacement(layers.UpSampling3D, "call", _upsampling),
    ]


def upsampling_lowerings() -> dict[str, Lowering]:
    """What writes the nodes of these markers."""
    return {KIND: _lower_upsampling}


def _upsampling(layer: Any, inputs: Any) -> Any:
    import tensorflow as tf

    interpolation = getattr(layer, "interpolation", "nearest")
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    known = inputs.dtype in (tf.float32, tf.float16, tf.bfloat16)
    # Cubic and Lanczos kernels are rounded to a table in TensorFlow: they have handlers.
    if interpolation not in ("nearest", "bilinear") or not known:
        return NotImplemented
    size = [layer.size] if isinstance(layer.size, int) else list(layer.size)
    factors = [1, *size, 1] if channels_last else [1, 1, *size]
    shape = [
        None if dim is None else dim * factor
        for dim, factor in zip(inputs.shape, factors, strict=True)
    ]
    # TensorFlow interpolates in float32; ONNX Runtime has no Resize for bfloat16.
    repeats_float16 = interpolation == "nearest" and inputs.dtype == tf.float16
    working = tf.float16 if repeats_float16 else tf.float32
    (output,) = mark(
        KIND,
        {"x": tf.cast(inputs, working)},
        [(shape, working)],
        factors=factors,
        interpolation=interpolation,
        channels_last=channels_last,
    )
    return tf.cast(output, inputs.dtype)


def _lower_upsampling(build: Builder, marker: Marker) -> list[str]:
    """Resize with channels first, which runtimes are built for; a sequence is repeated as it is."""
    x, config = marker.inputs["x"], marker.config
    factors = config["factors"]
    rank = len(factors)
    transposed = config["channels_last"] and rank > 3
    if transposed:
        factors = [*factors[:1], *factors[-1:], *factors[1:-1]]
        x = build.op("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])
    scales = build.constant(factors, np.float32)
    if config["interpolation"] == "nearest":
        kind = {"mode": "nearest", "nearest_mode": "floor"}
        coordinates = "asymmetric"
    else:
        kind = {"mode": "linear"}
        coordinates = "half_pixel"
    y = build.op("Resize", x, "", scales, coordinate_transformation_mode=coordinates, **kind)
    if transposed:
        y = build.op("Transpose", y, perm=[0, *range(2, rank), 1])
    return [y]
