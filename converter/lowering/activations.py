"""PReLU as the operator that ONNX has for it, and GELU in five operators or eight."""

from __future__ import annotations

import math
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.markers import Lowering, Marker, Replacement, mark


def activation_replacements() -> list[Replacement]:
    """``PReLU.call``, and TensorFlow's GELU, which Keras and users call alike."""
    import tensorflow as tf
    from keras import layers

    return [
        Replacement(layers.PReLU, "call", _prelu),
        Replacement(tf.nn, "gelu", _gelu),
    ]


def activation_lowerings() -> dict[str, Lowering]:
    """What writes the nodes of these markers."""
    return {"prelu": _lower_prelu, "gelu": _lower_gelu}


def _prelu(layer: Any, inputs: Any) -> Any:
    import keras
    import tensorflow as tf

    dtype = inputs.dtype
    if dtype not in (tf.float32, tf.float16) or len(layer.alpha.shape) != len(inputs.shape) - 1:
        return NotImplemented
    slope = keras.ops.convert_to_tensor(layer.alpha, dtype)
    (output,) = mark("prelu", {"x": inputs, "slope": slope}, [(inputs.shape, dtype)])
    return output


def _gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    import tensorflow as tf

    x = tf.convert_to_tensor(features)
    if x.dtype not in (tf.float32, tf.float16) or x.shape.rank is None:
        return NotImplemented
    (output,) = mark("gelu", {"x": x}, [(x.shape, x.dtype)], approximate=bool(approximate))
    return output


def _lower_prelu(b: Builder, marker: Marker) -> list[str]:
    return [b.op("PRelu", marker.inputs["x"], marker.inputs["slope"])]


def _lower_gelu(b: Builder, marker: Marker) -> list[str]:
    """The formula in the form that ONNX Runtime fuses; ONNX has the operator from opset 20."""
    x = marker.inputs["x"]
    one, half = b.scalar(1, like=x), b.scalar(0.5, like=x)
    if not marker.config["approximate"]:
        erf = b.op("Erf", b.op("Div", x, b.scalar(math.sqrt(2), like=x)))
        return [b.op("Mul", b.op("Mul", x, b.op("Add", erf, one)), half)]
    cubed = b.op("Mul", b.op("Pow", x, b.scalar(3, like=x)), b.scalar(0.044715, like=x))
    inner = b.op("Mul", b.op("Add", x, cubed), b.scalar(math.sqrt(2 / math.pi), like=x))
    return [b.op("Mul", b.op("Mul", x, half), b.op("Add", b.op("Tanh", inner), one))]
