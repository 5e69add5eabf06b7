"""Activations as the operators that ONNX has for them, and GELU in five operators or eight."""

from __future__ import annotations

import importlib
import math
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.markers import Lowering, Marker, Replacement, mark


def activation_replacements() -> list[Replacement]:
    """``PReLU.call``, Keras' activation functions, and the GELU of TensorFlow beneath them."""
    import tensorflow as tf
    from keras import layers

    backend = importlib.import_module("keras.src.backend.tensorflow.nn")
    return [
        Replacement(layers.PReLU, "call", _prelu),
        Replacement(tf.nn, "gelu", _gelu),
        Replacement(backend, "hard_sigmoid", _hard_sigmoid),
        Replacement(backend, "hard_silu", _hard_silu),
        Replacement(backend, "elu", _elu),
        Replacement(backend, "celu", _celu),
    ]


def activation_lowerings() -> dict[str, Lowering]:
    """What writes the nodes of these markers."""
    return {"activation": _lower_activation, "prelu": _lower_prelu, "gelu": _lower_gelu}


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


def _hard_sigmoid(x: Any) -> Any:
    return _mark(x, "HardSigmoid", alpha=1 / 6, beta=0.5)


def _hard_silu(x: Any) -> Any:
    return _mark(x, "HardSwish")


def _elu(x: Any, alpha: float = 1.0) -> Any:
    return _mark(x, "Elu", alpha=float(alpha))


def _celu(x: Any, alpha: float = 1.0) -> Any:
    return _mark(x, "Celu", alpha=float(alpha))


def _mark(x: Any, operator: str, **attributes: float) -> Any:
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if x.dtype != tf.float32 or x.shape.rank is None:
        return NotImplemented
    outputs = [(x.shape, x.dtype)]
    (output,) = mark("activation", {"x": x}, outputs, operator=operator, attributes=attributes)
    return output


def _lower_activation(build: Builder, marker: Marker) -> list[str]:
    x, operator = marker.inputs["x"], marker.config["operator"]
    if operator == "HardSwish" and build.opset < 14:
        return [build.op("Mul", x, build.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))]
    return [build.op(operator, x, **marker.config["attributes"])]


def _lower_prelu(build: Builder, marker: Marker) -> list[str]:
    return [build.op("PRelu", marker.inputs["x"], marker.inputs["slope"])]


def _lower_gelu(build: Builder, marker: Marker) -> list[str]:
    """The formula in a form that ONNX Runtime fuses; ONNX has the operator from opset 20.

    The half comes first: last, it would be folded into a layer that follows, and nobody would
    know the formula again.
    """
    x = marker.inputs["x"]
    one, half = build.scalar(1, like=x), build.scalar(0.5, like=x)
    if not marker.config["approximate"]:
        erf = build.op("Erf", build.op("Div", x, build.scalar(math.sqrt(2), like=x)))
        return [build.op("Mul", build.op("Mul", x, half), build.op("Add", erf, one))]
    cubed = build.op(
        "Mul", build.op("Pow", x, build.scalar(3, like=x)), build.scalar(0.044715, like=x)
    )
    inner = build.op("Mul", build.op("Add", x, cubed), build.scalar(math.sqrt(2 / math.pi), like=x))
    return [
        build.op("Mul", build.op("Mul", x, half), build.op("Add", build.op("Tanh", inner), one))
    ]
